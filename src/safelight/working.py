"""``safelight worker``: the process that makes, and the one that keeps it alive, sees it die and frees its jobs at once."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from contextlib import ExitStack

import structlog

from safelight import supervisor
from safelight.checkpoints import named_checkpoints
from safelight.errors import SetupFailed
from safelight.ground import database_address, opened, prepare, worker_environment
from safelight.service.jobs import QUEUES
from safelight.service.rescue import Rescue
from safelight.service.steering import RESTART
from safelight.settings import Settings

log = structlog.get_logger(__name__)


async def supervise(settings: Settings, queues: Sequence[str] | None = None) -> None:
    """Keeps a worker process alive for each device until SIGTERM or Ctrl-C."""
    wanted, stop, settings = wanted_queues(queues), _until_told(), named_checkpoints(settings)
    with ExitStack() as held:
        address = held.enter_context(database_address(settings, start=False))
        ground = prepare(settings, address)
        async with opened(ground):
            await ground.vault.open()
            rescue = Rescue(settings, ground.database, ground.queue)
            words = ("--queues", ",".join(sorted(wanted)))
            environment = worker_environment(settings, address)
            devices = settings.devices
            await supervisor.Supervisor(1, environment, rescue.bury, words, devices=devices).run(stop)


async def work(settings: Settings, queues: Sequence[str] | None = None) -> None:
    """Does what its queues hold until SIGTERM, Ctrl-C or the end of the process that started it."""
    from safelight import workshop

    wanted, stop, settings = wanted_queues(queues), _until_told(), named_checkpoints(settings)
    loop = asyncio.get_running_loop()
    supervisor.when_untethered(lambda: loop.call_soon_threadsafe(stop.set))
    with ExitStack() as held:
        address = held.enter_context(database_address(settings, start=False))
        ground = prepare(settings, address)
        shop = held.enter_context(workshop.workshop_of(settings))
        await asyncio.to_thread(shop.shelf.wait, None)
        worker = workshop.make_worker(ground, shop, wanted)
        ground.database.on(RESTART, lambda told: stop.set() if told is not None else None)
        async with opened(ground):
            await ground.vault.open()
            log.info("worker ready", model=settings.model, queues=sorted(wanted))
            await worker.run(stop)


def wanted_queues(queues: Sequence[str] | None) -> frozenset[str]:
    """All of them where none is named. Raises SetupFailed for one that does not exist."""
    known = frozenset(QUEUES.values())
    for name in queues or ():
        if name not in known:
            raise SetupFailed(f"There is no queue {name}. The queues are: {', '.join(sorted(known))}.")
    return frozenset(queues or known)


def _until_told() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop
