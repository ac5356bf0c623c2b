"""Counts that are written as they change: the same as a recount at every moment, and found out where they are not."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace

import pytest

from safelight import doctor
from safelight.storage.invariants import broken
from tests.house import House, a_bitmap, a_request
from tests.invariants import check_invariants

pytestmark = pytest.mark.anyio


async def test_counts_are_those_of_a_recount_before_and_after_they_are_added_up(house: House) -> None:
    async with house.working():
        jobs = [await house.submit(a_request(seed=seed), init=a_bitmap(seed)) for seed in range(6)]
        for job in jobs:
            await house.finished(job)
    other = await house.services.accounts.create_account("other")
    await house.services.assets.upload(other, a_bitmap(), temp=True)
    waiting = await house.submit()
    await asyncio.gather(*(house.services.erasure.delete(house.account, [job.id]) for job in (*jobs[:3], waiting)))
    before = await house.services.overview.statistics()
    assert (before.outcomes, before.waiting) == ({"succeeded": 6, "failed": 0, "cancelled": 1}, 0)
    assert before.blob_bytes == sum([found.size or 0 async for page in house.blobs.pages() for found in page]) > 0
    await check_invariants(house.database, house.blobs)
    await asyncio.gather(*(house.database.run("tallies.fold") for _ in range(4)))
    assert replace(await house.services.overview.statistics(), workers=()) == replace(before, workers=())
    await check_invariants(house.database, house.blobs)
    await house.services.erasure.clear_cache(other)
    assert (await house.services.overview.statistics()).blob_bytes < before.blob_bytes
    await check_invariants(house.database, house.blobs)


async def test_a_change_that_is_taken_back_was_never_counted(house: House) -> None:
    job = await house.submit()
    with contextlib.suppress(ZeroDivisionError):
        async with house.database.transaction() as tx:
            await tx.connection.execute("UPDATE jobs SET state = 'failed' WHERE id = %s", [job.id])
            raise ZeroDivisionError
    assert (await house.services.overview.statistics()).outcomes["failed"] == 0


@pytest.mark.parametrize(
    ("damage", "rule"),
    [
        ("UPDATE tallies SET amount = amount + 1 WHERE what = 'bytes'", "I9"),
        ("INSERT INTO deltas SELECT account_id, 'failed', 1 FROM jobs", "I9"),
        ("UPDATE assets SET size = size + 1 WHERE state = 'live'", "I2 bytes of another size"),
        ("UPDATE assets SET state = 'gone'", "I2 bytes without a row"),
        ("DELETE FROM requests", "I1"),
        ("UPDATE jobs SET erased_at = now()", "I3"),
        ("DELETE FROM usage", "I5"),
        ("UPDATE jobs SET fence = 0", "I7"),
    ],
)
async def test_what_is_broken_is_found(house: House, damage: str, rule: str) -> None:
    async with house.working():
        await house.finished(await house.submit(init=a_bitmap()))
    await house.database.run("tallies.fold")
    async with house.database.transaction() as tx:
        await tx.connection.execute(damage.encode())
    assert any(each.startswith(rule) for each in await broken(house.database, house.blobs))


async def test_the_doctor_looks_deep(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "EXAMINATIONS", {})
    monkeypatch.setattr(doctor, "LOOK_PAUSE", 0.0)
    async with house.working():
        await house.finished(await house.submit())
    finding, stock = await asyncio.to_thread(lambda: list(doctor.examine(house.settings, deep=True)))
    assert finding.ok, finding.text
    assert "not compared yet" in stock.text
    assert "rules hold" in finding.text
    async with house.database.transaction() as tx:
        await tx.connection.execute("UPDATE assets SET size = size + 1 WHERE state = 'live'")
    finding, _ = await asyncio.to_thread(lambda: list(doctor.examine(house.settings, deep=True)))
    assert not finding.ok
    assert "I2 bytes of another size: 1" in finding.text


DUE = (
    ("retentions.due", "jobs_expiring"),
    ("retentions.due", "jobs_ended"),
    ("retentions.due", "assets_expiring"),
    ("erasure.cached", "assets_cached"),
)


async def test_pictures_are_read_in_the_order_of_what_is_due(house: House) -> None:
    """Neither the expiry of pictures nor the clearing of a cache may read what stays."""
    async with house.database.transaction() as tx:
        await tx.connection.execute("SET LOCAL enable_seqscan = off")
        for query, index in DUE:
            plan = str(await _explained(tx.connection, query))
            assert index in plan
            assert "Seq Scan" not in plan


async def _explained(connection: object, query: str) -> object:
    from safelight.storage.database import QUERIES

    text = QUERIES[query].replace(b"%(days)s", b"30").replace(b"%(slice)s", b"500").replace(b"%(account)s", b"1")
    return await (await connection.execute(b"EXPLAIN " + text)).fetchall()  # type: ignore[attr-defined]
