"""Everything that the serving process runs beside each other: HTTP, webhooks, the reconciler, worker processes. How it
starts, what happens when a part of it fails, and how it drains.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import structlog
import uvicorn
from fastapi import Response
from starlette.routing import Route

from safelight import supervisor
from safelight.cancelling import cancel
from safelight.errors import Unavailable
from safelight.metrics import Metrics
from safelight.service.reconciler import Reconciler
from safelight.service.rescue import Rescue
from safelight.service.revocation import Revocation
from safelight.service.services import Services
from safelight.service.stocktaking import Stocktaking
from safelight.settings import Settings
from safelight.storage.blobs import Blobs
from safelight.storage.queue import WEBHOOKS, Queue
from safelight.wire import server
from safelight.wire.connection import connection_class

log = structlog.get_logger(__name__)

WEBHOOKS_AT_ONCE = 32
STEADY_PAUSE = 5.0  # seconds before a part of the server that failed goes on
READY_KEY = "ready/00/" + "0" * 32 + ".txt"  # is never written; a store that can say so answers

Watch = Callable[[], Awaitable[None]]  # runs until cancelled


class Ending:
    """SIGTERM and Ctrl-C: asked once the server drains, asked again it does not wait for its callers."""

    def __init__(self) -> None:
        self.asked, self.urged = asyncio.Event(), asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._ask)

    def _ask(self) -> None:
        (self.urged if self.asked.is_set() else self.asked).set()


class Serving:
    """The parts of a serving process, composed by ``app``."""

    def __init__(
        self,
        settings: Settings,
        services: Services,
        queue: Queue,
        blobs: Blobs,
        reconciler: Reconciler,
        rescue: Rescue,
        revocation: Revocation,
        stocktaking: Stocktaking,
    ) -> None:
        self.services = services
        self._settings = settings
        self._queue = queue
        self._blobs = blobs
        self.reconciler, self.rescue, self.revocation = reconciler, rescue, revocation
        self.stocktaking = stocktaking
        self._metrics = Metrics(services.overview.statistics)

    async def run(
        self,
        listener: socket.socket,
        environment: dict[str, str],
        ending: Ending,
        watches: Sequence[Watch],
        announce: Callable[[], None],
    ) -> None:
        """HTTP and workers drain at the same time; what they may need meanwhile ends after them."""
        stop = ending.asked
        works = (
            lambda: self._queue.work([WEBHOOKS], concurrency=WEBHOOKS_AT_ONCE),
            self.reconciler.run,
            self.stocktaking.run,
            self.revocation.run,
            self.services.wishes.run,
            self.services.shop.run,
        )
        beside = [asyncio.create_task(_steadily(work)) for work in (*works, *watches)]
        workers = asyncio.create_task(
            supervisor.Supervisor(
                self._settings.workers, environment, self.rescue.bury, devices=self._settings.devices
            ).run(stop)
        )
        try:
            await self._serve_http(listener, ending, announce)
        finally:
            stop.set()
            await workers
            await cancel(*beside)
            await self.services.wishes.write_down()
            self.services.inputs.close()

    async def _serve_http(self, listener: socket.socket, ending: Ending, announce: Callable[[], None]) -> None:
        settings = self._settings
        application = server.create(
            self.services, ready=self._ready, extra_routes=[Route("/metrics", self._metrics_page)]
        )
        config = uvicorn.Config(
            self._metrics.measured(application), http=connection_class(settings.connections_per_address), ws="none",
            log_config=None, access_log=False, server_header=False, date_header=True, proxy_headers=False, lifespan="off",
            timeout_graceful_shutdown=int(settings.hold_seconds) + 10,
        )  # fmt: skip
        gc.collect()
        gc.freeze()  # what stands by now stays: collecting looks only at what comes with requests
        http = _Http(config, announce)
        serving = asyncio.create_task(http.serve(sockets=[listener]))
        await _either(serving, ending.asked.wait())
        self.services.following.close()
        http.should_exit = True
        await _either(serving, ending.urged.wait())
        http.force_exit = True
        await serving

    async def _ready(self) -> None:
        now = await self.services.overview.statistics()
        if not now.workers:
            raise Unavailable("No worker is alive yet. It may still be loading its model.")
        await self._blobs.exists(READY_KEY)

    async def _metrics_page(self, _request: Any) -> Response:
        return Response(await self._metrics.page(), media_type="text/plain; version=0.0.4")


class _Http(uvicorn.Server):
    """uvicorn, with its signals left to us: it would end the process before the workers and the database have drained."""

    def __init__(self, config: uvicorn.Config, announce: Callable[[], None]) -> None:
        super().__init__(config)
        self._announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._announce()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _steadily(work: Watch) -> None:
    """Whatever befalls one part of the house, that part goes on."""
    while True:
        try:
            await work()
        except Exception:
            log.exception("a part of the server failed; it goes on")
        await asyncio.sleep(STEADY_PAUSE)


async def _either(task: asyncio.Task[None], event: Coroutine[Any, Any, Any]) -> None:
    waiting = asyncio.create_task(event)
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
