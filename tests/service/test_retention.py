"""Of all limits the shortest counts, what is kept already hears of one that is set later, and what is due is erased with a receipt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from safelight.errors import Invalid, NotFound
from safelight.records import Account, Job
from safelight.service import retention
from safelight.service.retention import end_of
from safelight.settings import Settings
from tests.house import House, a_bitmap, a_request, open_house
from tests.invariants import check_invariants
from tests.service.rows import rows

pytestmark = pytest.mark.anyio

HOUR, DAY = 3600.0, 24 * 3600.0


async def by_key(house: House) -> Account:
    key, _ = await house.services.accounts.create_key("tester")
    return replace(house.account, key_id=key.id)


async def made(house: House, account: Account, **fields: object) -> Job:
    job = await house.services.jobs.submit(account, a_request("a small house", **fields))
    done = await house.services.jobs.wait(account, job.id, 60)
    assert done.state.final
    return done


def life(job: Job) -> float | None:
    return (
        None if not job.expires_at or not job.finished_at else (job.expires_at - job.finished_at) / timedelta(seconds=1)
    )


async def age(house: House, jobs: Sequence[Job], seconds: float) -> None:
    """As if they had ended so much earlier."""
    async with house.database.pool.connection() as connection:
        await connection.execute(
            "UPDATE jobs SET finished_at = finished_at - %(s)s * interval '1 second', "
            "expires_at = expires_at - %(s)s * interval '1 second' WHERE id = ANY (%(ids)s)",
            {"s": seconds, "ids": [job.id for job in jobs]},
        )


async def test_the_shortest_counts(house: House) -> None:
    key, keeps = await by_key(house), house.services.retention
    async with house.working():
        assert life(await made(house, key)) is None
        await keeps.limit(key, 5 * DAY, set_by="operator")
        await keeps.limit(key, 9 * DAY)
        assert life(await made(house, key)) == 5 * DAY
        await keeps.limit(key, 3 * DAY, key_id=key.key_id or 0)
        assert life(await made(house, key)) == 3 * DAY
        assert life(await made(house, house.account)) == 5 * DAY
        assert life(await made(house, key, temp=True)) == DAY
        assert life(await made(house, key, temp=True, expires_in=HOUR)) == HOUR
        house.painter.wrong = lambda _: ValueError("no")
        failed = await made(house, key)
    assert (failed.state.value, life(failed)) == ("failed", 3 * DAY)
    assert [(each.set_by, each.seconds / DAY, each.key_id) for each in await keeps.limits(key)] == [
        ("operator", 5, None),
        ("owner", 9, None),
        ("owner", 3, key.key_id),
    ]
    with pytest.raises(Invalid):
        await keeps.limit(key, 1)


async def test_what_is_kept_already_hears_of_a_limit(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "SLICE", 2)
    account, keeps = house.account, house.services.retention
    other = await house.services.accounts.create_account("other")
    async with house.working():
        old = [await made(house, account) for _ in range(3)]
        short, foreign = await made(house, account, expires_in=HOUR), await made(house, other)
        waiting = await house.services.jobs.submit(account, a_request())
        await house.services.jobs.wait(account, waiting.id, 60)
    queued = await house.services.jobs.submit(account, a_request())
    upload = await house.services.assets.upload(account, a_bitmap())
    await age(house, old[:1], 3 * DAY)
    await keeps.limit(account, 2 * DAY)
    with pytest.raises(NotFound):
        await house.services.jobs.get(account, old[0].id)
    assert life(await house.services.jobs.get(account, old[1].id)) == 2 * DAY
    assert life(await house.services.jobs.get(account, short.id)) == HOUR
    assert life(await house.services.jobs.get(other, foreign.id)) is None
    kept, _ = await house.services.assets.open(upload.name)
    assert kept.expires_at == kept.created_at + timedelta(days=2)
    assert not kept.temp
    await keeps.limit(account, None)
    async with house.working():
        assert life(await house.finished(queued)) == 2 * DAY  # what heard of it keeps its end
        assert life(await made(house, account)) is None


async def test_what_is_due_is_erased_like_anything_else(house: House) -> None:
    account = house.account
    async with house.working():
        due, kept = [await made(house, account, expires_in=HOUR) for _ in range(2)], await made(house, account)
    await age(house, due, 2 * HOUR)
    name = f"{due[0].file_prefix}-0.png"
    with pytest.raises(NotFound):
        await house.services.assets.open(name)
    await house.reconciler.keep_up()
    assert len(await house.blobs.keys()) == 1
    (receipt,) = await house.services.erasure.receipts(account, None, 10)
    assert (receipt.scope, receipt.request_ids) == ("expiry", tuple(job.id for job in due))
    assert receipt.verified_at
    told = await rows(house, "SELECT count(*) AS n FROM requests")
    assert told == [{"n": 1}]
    assert (await house.services.jobs.get(account, kept.id)).outputs == 1
    await check_invariants(house.database, house.blobs)


async def test_an_upload_goes_with_its_accounts_limit_and_is_not_taken_for_a_temporary_one(house: House) -> None:
    await house.services.retention.limit(house.account, 2 * DAY)
    upload = await house.services.assets.upload(house.account, a_bitmap())
    await house.services.erasure.clear_cache(house.account)
    kept, _ = await house.services.assets.open(upload.name)
    assert kept.expires_at
    assert round((kept.expires_at - kept.created_at) / timedelta(seconds=1)) == 2 * DAY


async def test_the_houses_time_is_told_too(settings: Settings) -> None:
    async with open_house(settings.model_copy(update={"output_days": 3})) as house, house.working():
        job = await made(house, house.account)
        assert job.finished_at
        assert end_of(job, house.settings) == job.finished_at + timedelta(days=3)
        await house.services.retention.limit(house.account, DAY)
        job = await house.services.jobs.get(house.account, job.id)
        assert end_of(job, house.settings) == job.expires_at
