"""What is done with a house, each from beginning to end, by a client that tries again after every crash as long as it needs to.

So each life may be lived again where an earlier process died: what was accepted is found by its mark, what was erased stays so.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext, suppress
from functools import partial

import psycopg
from psycopg.conninfo import make_conninfo

from safelight.cancelling import cancel
from safelight.errors import EngineFailed, Invalid, NotFound, Unavailable
from safelight.records import AssetKind, InstallRequest, Job, JobState, Task
from safelight.service import batches
from safelight.service.batches import Wanted
from safelight.service.makers.install import Install
from safelight.service.makers.maker import Made, Order
from safelight.service.once import once_for
from safelight.service.outbound import Outbound
from safelight.service.requests import to_json
from safelight.storage import migrate
from safelight.storage.blobs import new_key
from safelight.storage.queue import MODELS, WEBHOOKS
from tests.crashes.processes import Life, Told
from tests.house import House, a_bitmap, a_request
from tests.service.rows import count, rows

MISTAKE = "a mistake"
CHARGED = 3_000_000  # millionths
AN_HOUR_GOES_BY = (
    "UPDATE jobs SET lease_until = lease_until - interval '1 hour'",
    "UPDATE procrastinate_workers SET last_heartbeat = last_heartbeat - interval '1 hour'",
    "UPDATE assets SET settles_at = settles_at - interval '1 hour' WHERE settles_at IS NOT NULL",
    "UPDATE procrastinate_jobs SET scheduled_at = scheduled_at - interval '1 hour' WHERE scheduled_at IS NOT NULL",
)


async def make_and_delete(house: House, told: Told) -> None:
    """A picture's whole life, its webhook included."""
    job = await _job(house, told, "the picture")
    if job is not None:
        async with at_work(house):
            done = await house.finished(job)
            assert (done.state, done.error) == (JobState.succeeded, None)
            await _quiet_outbox(house)
        (name,) = house.services.assets.output_names(done)
        assert (await house.services.assets.open(name))[1].startswith(b"\x89PNG")
        await house.services.erasure.delete(house.account, [job.id])
        told.tell(deleted=[job.id])
    await tidied(house)


async def fail(house: House, told: Told) -> None:
    """A job that ends badly, whose receiver does not want to know at first."""
    house.painter.wrong = lambda generation: EngineFailed(MISTAKE)
    job = await _job(house, told, "the failure")
    assert job is not None
    async with at_work(house):
        assert (await house.finished(job)).state is JobState.failed
        await _quiet_outbox(house)
    await tidied(house)


async def erase_many(house: House, told: Told) -> None:
    """In slices of three."""
    batches.SLICE = 3
    for number in range(7):
        await _job(house, told, f"one of many {number}", webhook=None)
    with suppress(NotFound):
        receipt = await house.services.erasure.delete_where(house.account, Wanted())
        told.tell(deleted=list(receipt.request_ids))
    await tidied(house)
    assert await count(house, "jobs WHERE erased_at IS NULL") == 0


async def upload_and_close(house: House, told: Told) -> None:
    """An account with a picture, which is erased, and the account last."""
    name = f"whoever comes in {told.trial}"
    account = await house.services.accounts.create_account(name)
    upload = await house.services.assets.upload(account, a_bitmap())
    told.tell(uploaded=upload.name)
    assert (await house.services.assets.open(upload.name))[1]
    await house.services.erasure.clear_cache(account)
    await house.services.erasure.close(account, lambda done, of: None)
    told.tell(deleted=[upload.request_id], closed=name)
    with suppress(NotFound):
        raise AssertionError(await house.services.accounts.named(name))
    await tidied(house)


async def rescue(house: House, told: Told) -> None:
    """Of a worker that was seen to die with three jobs, and of one that fell silent."""
    for number in range(3):
        await _job(house, told, f"on board {number}", webhook=None)
    await _claim_all(house, "doomed")
    await house.rescue.bury("doomed", crashed=True)
    await _claim_all(house, "silent")
    await an_hour_goes_by(house)
    await house.rescue.stranded()
    async with at_work(house):
        for each in await rows(house, "SELECT id FROM jobs WHERE erased_at IS NULL"):
            assert (await house.services.jobs.wait(house.account, each["id"], 60)).state is JobState.succeeded
    await tidied(house)


async def seal_what_is_old(house: House, told: Told) -> None:
    """Requests and files as the version before sealing left them; see ``grow_old``."""
    await tidied(house)
    assert await count(house, "requests WHERE body IS NOT NULL") == 0
    assert await count(house, "assets WHERE state = 'live' AND NOT sealed") == 0
    for each in await rows(house, "SELECT name FROM assets WHERE state = 'live' AND kind = 'output'"):
        assert (await house.services.assets.open(each["name"]))[1].startswith(b"\x89PNG")


async def change_the_master_key(house: House, told: Told) -> None:
    jobs = [await _job(house, told, f"kept {number}", webhook=None) for number in range(2)]
    await house.vault.rotate(lambda done, of: None)
    house.vault._remembered.clear()
    for job in jobs:
        assert job is not None
        assert (await house.services.jobs.get(house.account, job.id)).request == job.request
    assert await count(house, "masters") == 1


async def buy(house: House, told: Told) -> None:
    """Money is charged and two things are bought with it; whoever sends the same words again buys nothing twice."""
    shop, mark = house.services.shop, told.trial
    await shop.fund(house.account, CHARGED, f"{mark}: charge")
    with suppress(Invalid):
        await shop.buy_models(house.account, 1, f"{mark}: place")
    with suppress(Invalid):
        await shop.buy_plan(house.account, "standard_monthly", f"{mark}: plan")


async def install(house: House, told: Told) -> None:
    """A model that is brought, is there, and is deleted."""
    _teach_to_install(house)
    models, name = house.services.models, told.trial.rpartition(" ")[2]
    with suppress(Invalid):
        request = InstallRequest(url="http://nowhere/", name=name, kind="lora")
        told.tell(accepted=(await models.install(house.account, request)).id)
    (model,) = [each for each in await models.of(house.account) if each.name == name]
    async with at_work(house):
        assert (await house.services.jobs.wait(house.account, model.job_id, 60)).state is JobState.succeeded
    await models.delete(house.account, name)
    told.tell(deleted=[model.job_id])
    await tidied(house)


async def migrate_an_older_house(house: House, told: Told) -> None:
    """Another database than the house's own, made by the version before sealing."""
    name = f"test_{told.trial.rpartition(' ')[2]}"
    url = make_conninfo(house.settings.database_url or "", dbname=name)
    if not await rows(house, f"SELECT FROM pg_database WHERE datname = '{name}'"):
        await _administer(house, f"CREATE DATABASE {name}")
    for revision in ("0009", "head"):
        await asyncio.to_thread(migrate.migrate, url, revision)
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(migrate.newest(),)]
    await _administer(house, f"DROP DATABASE {name}")


LIVES: tuple[Life, ...] = (
    make_and_delete, fail, erase_many, upload_and_close, rescue, seal_what_is_old, change_the_master_key, install, migrate_an_older_house,
    buy,
)  # fmt: skip


class Handing(Install):
    """Keeps models as they are kept everywhere, in two parts; nothing is fetched, and nothing judged."""

    async def make(self, order: Order) -> Made:
        keep = partial(self._keep, int(order.owner), {})
        return Made([b"first", b"second"], order.request.steps_to_run, 0, kinds=[AssetKind.model] * 2, keep=keep)


def _teach_to_install(house: House) -> None:
    worker, outbound = house.worker, Outbound(frozenset())
    worker._makers[Task.install_model] = Handing(
        house.settings, house.database, outbound, house.settings.data_dir, lambda owner: nullcontext(())
    )
    worker._queues.append(MODELS)
    house.queue.teach(MODELS, worker._work)


@asynccontextmanager
async def at_work(house: House) -> AsyncIterator[None]:
    """With all that works in a house, whatever earlier processes left behind."""
    await an_hour_goes_by(house)

    async def look() -> None:
        while True:
            with suppress(Unavailable):
                await house.rescue.stranded()
            await asyncio.sleep(0.1)

    tasks = [asyncio.create_task(look()), asyncio.create_task(house.queue.work([WEBHOOKS], concurrency=2))]
    try:
        async with house.working():
            yield
    finally:
        await cancel(*tasks)


async def an_hour_goes_by(house: House) -> None:
    async with house.database.transaction() as tx:
        for statement in AN_HOUR_GOES_BY:
            await tx.connection.execute(statement.encode())


async def tidied(house: House) -> None:
    """Until the reconciler has nothing left to do."""
    while True:
        await an_hour_goes_by(house)
        await house.rescue.stranded()
        await house.reconciler.keep_up(intent_seconds=0)
        unfinished = ("receipts WHERE verified_at IS NULL", "assets WHERE state = 'deleting'", "wipes", "erasing")
        if not [each for each in unfinished if await count(house, each)]:
            return
        await asyncio.sleep(0.05)


async def _administer(house: House, statement: str) -> None:
    async with house.database.outside_transaction() as session:
        await session.connection.execute(statement.encode())


async def _job(house: House, told: Told, mark: str, *, webhook: str | None = "") -> Job | None:
    """None where it was erased by an earlier process."""
    address = (house.settings.data_dir / "receiver").read_text() if webhook == "" else webhook
    try:
        job = await house.submit(
            a_request(webhook=address), init=a_bitmap(), once=once_for(f"{told.trial}: {mark}", "the same")
        )
    except NotFound:
        return None
    told.tell(accepted=job.id)
    return job


async def _quiet_outbox(house: House) -> None:
    while await count(house, "outbox WHERE state = 'waiting'"):
        await an_hour_goes_by(house)
        await asyncio.sleep(0.05)


async def _claim_all(house: House, worker: str) -> None:
    for row in await rows(house, "SELECT id, task_id FROM jobs WHERE state = 'queued'"):
        await house.database.one(
            "jobs.claim", id=row["id"], entry=row["task_id"], lease=60, worker=worker, welcome="anybody"
        )


async def grow_old(house: House) -> None:
    """A picture with its request and its input becomes as it was before there were keys."""
    async with at_work(house):
        done = await house.finished(await house.submit(init=a_bitmap()))
    for row in await rows(house, f"SELECT * FROM assets WHERE state = 'live' AND request_id = {done.id}"):
        clear = await house.vault.file_of(row, await house.blobs.get(row["blob_key"]))
        key = new_key(row["kind"], ".png")
        await house.blobs.put(key, clear)
        async with house.database.transaction() as tx:
            await tx.connection.execute(
                "UPDATE assets SET blob_key = %s, sealed = false, size = %s WHERE id = %s", [key, len(clear), row["id"]]
            )
        await house.blobs.delete(row["blob_key"])
    assert done.request is not None
    async with house.database.transaction() as tx:
        await house.vault.forget(tx, [done.id])
        body = json.dumps(to_json(done.request))
        await tx.connection.execute("UPDATE requests SET body = %s, sealed = NULL WHERE job_id = %s", [body, done.id])
