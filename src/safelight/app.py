"""The composition root: puts the rooms together for each command. With `workshop`, where things are made, the only file that knows
a concrete thing from every room. Loads no torch.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass

import structlog

from safelight.checkpoints import BUNDLED_NAME, named_checkpoints, read_wants
from safelight.door import is_loopback, listen, reachable
from safelight.engine.prompts import enhance
from safelight.errors import SetupFailed
from safelight.service.accounts import Accounts
from safelight.service.additions import Additions
from safelight.service.assets import Assets
from safelight.service.catalogue import Catalogue
from safelight.service.chat import Chat
from safelight.service.erasure import Erasure
from safelight.service.examination import Examination
from safelight.service.following import Following
from safelight.service.history import History
from safelight.service.inputs import Inputs
from safelight.service.jobs import Jobs
from safelight.service.ledger import Ledger
from safelight.service.masters import Masters
from safelight.service.models import Models
from safelight.service.outbound import Outbound
from safelight.service.outbox import Outbox
from safelight.service.overview import Overview
from safelight.service.payments import Payments
from safelight.service.preferences import Preferences
from safelight.service.rates import Rates
from safelight.service.reconciler import Reconciler
from safelight.service.rescue import Rescue
from safelight.service.retention import Retention
from safelight.service.revocation import Revocation
from safelight.service.sealer import Sealer
from safelight.service.services import Services
from safelight.service.sessions import Sessions
from safelight.service.shop import Shop
from safelight.service.steering import Steering
from safelight.service.stocktaking import Stocktaking
from safelight.service.unstored import Unstored
from safelight.service.usage import Usage
from safelight.service.vault import Vault
from safelight.service.webhooks import Webhooks
from safelight.service.wishes import Wishes
from safelight.serving import Ending, Serving, Watch
from safelight.settings import Settings
from safelight.storage import postgres
from safelight.storage.blobs import Blobs, open_blobs
from safelight.storage.database import Database
from safelight.storage.deletion_log import DeletionLog
from safelight.storage.migrate import migrate
from safelight.storage.queue import WEBHOOKS, Queue
from safelight.wire.modelslab import write as modelslab

log = structlog.get_logger(__name__)

FIRST_ACCOUNT = "default"


@dataclass(frozen=True, slots=True)
class Opening:
    """What a server tells its operator when it opens: its address, the first key where one was just made, and the address at which a
    browser is signed in to the console, once."""

    url: str
    key: str | None
    console: str | None


Announce = Callable[[Opening], None]
RENDERERS = {"modelslab": modelslab.webhook_body}


# What every command stands on.


@dataclass(frozen=True)
class Ground:
    """The database, the queue in it, the blob store and the keys to what is in them, open."""

    settings: Settings
    database: Database
    queue: Queue
    blobs: Blobs
    vault: Vault


@contextmanager
def database_address(settings: Settings, *, start: bool = True) -> Iterator[str]:
    """The operator's own database, or the embedded one: whoever runs it here already, else started for as long as this."""
    found = settings.database_url or (None if start else postgres.find(settings.data_dir))
    if found is not None:
        yield found
        return
    if not start:
        raise SetupFailed(
            f"No server runs on {settings.data_dir}. Start `safelight serve` there, or give --database-url."
        )
    embedded = postgres.EmbeddedPostgres(settings.data_dir)
    address = embedded.start()
    try:
        yield address
    finally:
        embedded.stop()


def prepare(settings: Settings, address: str) -> Ground:
    """Made, not yet open: whoever wants to hear notifications says so before ``opened``."""
    database = Database(address)
    queue = Queue(database, heartbeat_seconds=settings.heartbeat_seconds, stalled_seconds=settings.stalled_seconds)
    return Ground(settings, database, queue, open_blobs(settings.blobs_url), Vault(database, Masters(settings)))


@asynccontextmanager
async def opened(ground: Ground) -> AsyncIterator[None]:
    await ground.database.open()
    try:
        await ground.queue.open()
        yield
    finally:
        await ground.database.close()


# safelight serve


async def serve(settings: Settings, announce: Announce) -> None:
    """Until SIGTERM or Ctrl-C: then no new work, running work finished or handed back, the database stopped cleanly."""
    ending = Ending()
    with ExitStack() as held:
        settings = named_checkpoints(settings)
        beside: list[Watch] = []
        address = settings.database_url
        if address is None:
            embedded = postgres.EmbeddedPostgres(settings.data_dir)
            address = embedded.start()
            held.callback(embedded.stop)
            beside.append(embedded.keep_alive)
        listener = held.enter_context(listen(settings))
        settings = reachable(settings.model_copy(update={"port": listener.getsockname()[1]}))
        await asyncio.to_thread(migrate, address)
        ground = prepare(settings, address)
        serving = make_serving(ground)
        async with opened(ground):
            await ground.vault.open(may_make=True)
            serving.services.erasure.reserve.hold()
            await serving.services.erasure.replay.open()
            key = await first_key(settings, serving.services.accounts)
            opening = Opening(settings.base_url, key, await console_address(settings, serving.services))
            environment = worker_environment(settings, address)
            await serving.run(listener, environment, ending, beside, lambda: announce(opening))


async def first_key(settings: Settings, accounts: Accounts) -> str | None:
    """The very first start makes an account and a key. A door that others can reach is not opened before there is one."""
    if not is_loopback(settings.host):
        if not await accounts.any_keys():
            raise SetupFailed(
                f"{settings.host} can be reached by others and there is no key yet. Make one with `safelight keys create NAME`, "
                "or listen on 127.0.0.1."
            )
        return None
    if await accounts.list_keys():
        return None
    return (await accounts.create_key(FIRST_ACCOUNT, "first start", operator=True))[1]


async def console_address(settings: Settings, services: Services) -> str | None:
    """Where there is a console and a key of an operator's for it."""
    operator = await services.accounts.any_operator()
    if operator is None or "console" not in settings.dialects:
        return None
    return f"{settings.base_url}/console/enter?ticket={services.sessions.ticket(operator)}"


def worker_environment(settings: Settings, address: str) -> dict[str, str]:
    """What a worker process of ours needs to be told; the rest it reads from the same environment."""
    return {
        "OMP_WAIT_POLICY": "PASSIVE",  # unless set: threads that spin while they wait starve the others on shared cores
        **os.environ,
        "SAFELIGHT_DATA_DIR": str(settings.data_dir),
        "SAFELIGHT_DATABASE_URL": address,
        "SAFELIGHT_BLOB_URL": settings.blobs_url,
        "SAFELIGHT_MODELS": json.dumps({name: str(path) for name, path in settings.models.items()}),
        "SAFELIGHT_MODEL": settings.model or BUNDLED_NAME,
        "PYTHONUNBUFFERED": "1",
    }


def make_serving(ground: Ground) -> Serving:
    settings, database, queue = ground.settings, ground.database, ground.queue
    outbound = Outbound(settings.outbound_ports, settings.private_hosts)
    services = make_services(ground, outbound)
    webhooks = Webhooks(settings, services.outbox, services.jobs, services.assets, outbound, RENDERERS)
    queue.teach(WEBHOOKS, webhooks.deliver)
    sealer = Sealer(database, ground.blobs, ground.vault)
    rescue = Rescue(settings, database, queue)
    reconciler = Reconciler(settings, database, rescue, services.erasure, services.retention, sealer)
    revocation, stocktaking = Revocation(settings, database, queue), Stocktaking(settings, database, ground.blobs)
    return Serving(settings, services, queue, ground.blobs, reconciler, rescue, revocation, stocktaking)


def make_services(ground: Ground, outbound: Outbound) -> Services:
    settings, database, queue, blobs = ground.settings, ground.database, ground.queue, ground.blobs
    vault = ground.vault
    assets, jobs = Assets(settings, database, blobs, vault), Jobs(settings, database, queue, blobs, vault)
    erasure = make_erasure(ground)

    async def own_asset(name: str) -> bytes:
        return (await assets.open(name))[1]

    return Services(
        settings=settings,
        accounts=Accounts(database),
        additions=Additions(settings, database),
        inputs=Inputs(settings, outbound, own_asset),
        jobs=jobs,
        assets=assets,
        erasure=erasure,
        retention=Retention(settings, database, erasure),
        unstored=Unstored(database, vault, erasure),
        catalogue=Catalogue(settings, database, read_wants(settings)),
        models=Models(settings, database, jobs, erasure),
        chat=Chat(settings),
        history=History(database, vault),
        following=Following(database, jobs),
        examination=Examination(settings),
        preferences=Preferences(database),
        outbox=Outbox(database, queue),
        overview=Overview(settings, database),
        sessions=Sessions(database),
        steering=Steering(database, queue),
        wishes=Wishes(database),
        ledger=Ledger(settings, database),
        shop=Shop(settings, database, Payments(settings, database)),
        rates=Rates(settings, database),
        usage=Usage(database),
        enhance=enhance,
    )


def make_erasure(ground: Ground) -> Erasure:
    deletions = DeletionLog(ground.settings.deletion_log_path)
    return Erasure(ground.settings, ground.database, ground.blobs, ground.vault, deletions)
