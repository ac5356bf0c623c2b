"""The composition root of a serving process. With `workshop`, where things are made, the only file that knows a concrete thing from
every room. Loads no torch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import ExitStack

from safelight.checkpoints import named_checkpoints, read_wants
from safelight.door import Opening, is_loopback, listen, reachable
from safelight.engine.prompts import enhance
from safelight.errors import SetupFailed
from safelight.ground import Ground, make_erasure, opened, prepare, worker_environment
from safelight.service.accounts import Accounts
from safelight.service.additions import Additions
from safelight.service.assets import Assets
from safelight.service.catalogue import Catalogue
from safelight.service.chat import Chat
from safelight.service.examination import Examination
from safelight.service.following import Following
from safelight.service.history import History
from safelight.service.inputs import Inputs
from safelight.service.jobs import Jobs
from safelight.service.ledger import Ledger
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
from safelight.service.webhooks import Webhooks
from safelight.service.wishes import Wishes
from safelight.serving import Ending, Serving, Watch
from safelight.settings import Settings
from safelight.storage import postgres
from safelight.storage.migrate import migrate
from safelight.storage.queue import WEBHOOKS
from safelight.wire.modelslab import write as modelslab

FIRST_ACCOUNT = "default"
RENDERERS = {"modelslab": modelslab.webhook_body}
Announce = Callable[[Opening], None]


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
