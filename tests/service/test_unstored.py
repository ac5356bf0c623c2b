"""What is answered and not stored: its key is in memory alone, so that nothing that touches a disk can be opened, during or after."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from safelight.errors import Invalid, NotFound
from safelight.records import Account, JobState, Operation
from safelight.service import lending
from safelight.service.once import Once
from safelight.settings import Settings, read_settings
from safelight.storage.migrate import migrate
from safelight.storage.postgres import EmbeddedPostgres
from tests.house import House, a_bitmap, a_request, colour, encode, open_house
from tests.invariants import check_invariants
from tests.service.rows import rows

pytestmark = pytest.mark.anyio

CANARY = "CANARYofwhatisnotstored"


@pytest.fixture
async def houses(settings: Settings) -> AsyncIterator[tuple[House, House]]:
    """One that is asked and one that works: as two processes, with nothing in common but the database and the files."""
    async with open_house(settings, name="asked") as asked, open_house(settings, name="works") as works:
        yield asked, works


async def test_the_key_is_lent_from_memory_to_memory(houses: tuple[House, House]) -> None:
    asked, works = houses
    async with works.working():
        job = await asked.services.jobs.submit(asked.account, a_request(CANARY, store=False), {})
        async with asked.services.unstored.answering(asked.account, job) as gone:
            job = await asked.finished(job)
            assert job.state is JobState.succeeded
            (made,) = await asked.services.assets.outputs(asked.account, job)
            assert made == encode(colour(3, 64, 64))
            name = asked.services.assets.output_names(job)[0]
            for house in houses:
                with pytest.raises(NotFound):
                    await house.services.assets.open(name)
            await until(lambda: works.vault.held(job.id) is None)
            assert (await works.services.jobs.get(works.account, job.id)).request is None
            assert await rows(asked, "SELECT count(*) AS n FROM request_keys") == [{"n": 0}]
    assert gone.receipt
    assert asked.vault.held(job.id) is None
    assert works.vault.held(job.id) is None
    assert await asked.blobs.keys() == set()
    with pytest.raises(NotFound):
        await asked.services.jobs.get(asked.account, job.id)
    receipt = await asked.services.erasure.receipt(asked.account, gone.receipt)
    assert receipt.scope == "unstored"
    await check_invariants(asked.database, asked.blobs)


async def test_what_was_asked_is_lost_with_who_was_asked(
    houses: tuple[House, House], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lending, "ASK_SECONDS", 0.05)
    asked, works = houses
    job = await asked.services.jobs.submit(asked.account, a_request(CANARY, store=False), {})
    asked.vault.let_go(job.id)  # as if its process had ended
    async with works.working():
        done = await works.finished(job)
    assert (done.state, done.request) == (JobState.failed, None)
    assert done.error == "What was asked was not stored, and is lost with the process that was asked. Send it again."
    assert done.expires_at
    async with works.database.pool.connection() as connection:
        await connection.execute("UPDATE jobs SET expires_at = now() WHERE id = %s", [job.id])
    await works.reconciler.keep_up()
    assert await rows(works, "SELECT count(*) AS n FROM requests") == [{"n": 0}]
    await check_invariants(works.database, works.blobs)


async def test_a_worker_that_takes_over_asks_again(houses: tuple[House, House]) -> None:
    asked, works = houses
    works.painter.gate.clear()
    job = await asked.services.jobs.submit(asked.account, a_request(CANARY, store=False), {})
    async with works.working():
        await until(lambda: bool(works.painter.generations))
        assert works.vault.held(job.id)
        await works.rescue.bury("works", crashed=True)
        works.painter.gate.set()
        done = await asked.finished(job)
    assert done.state is JobState.succeeded
    assert len(await asked.services.assets.outputs(asked.account, done)) == 1


async def test_nothing_that_could_be_opened_touches_a_disk(data_dir: Path) -> None:
    """Its words and its key, looked for in every file of a house of its own, while it is made and after."""
    server = EmbeddedPostgres(data_dir)
    url = server.start()
    try:
        migrate(url)
        settings = read_settings(data_dir=data_dir, database_url=url, heartbeat_seconds=0.2, stalled_seconds=1.0)
        async with open_house(settings, name="asked") as house, open_house(settings, name="works") as works:
            works.painter.gate.clear()
            given = a_bitmap()
            job = await house.submit(
                a_request(CANARY, store=False, track_id=CANARY, operation=Operation.img2img), given
            )
            seal = house.vault.held(job.id)
            assert seal
            secrets = (CANARY.encode(), seal.key, given.png[40:72], encode(colour(3, 64, 64))[40:72])
            async with works.working(), house.services.unstored.answering(house.account, job):
                await until(lambda: bool(works.painter.generations))
                await house.database.run("upkeep.checkpoint")
                assert found(data_dir, secrets) == []
                works.painter.gate.set()
                job = await house.finished(job)
                await house.database.run("upkeep.checkpoint")
                assert found(data_dir, secrets) == []
                assert len(await house.services.assets.outputs(house.account, job)) == 1
            assert found(data_dir, secrets) == []
            assert found(data_dir, (job.file_prefix.encode(),)), "the files were not looked through"
    finally:
        server.stop()
    assert found(data_dir, secrets) == []


async def test_what_cannot_be_had_is_refused_by_name(house: House) -> None:
    jobs = house.services.jobs
    for field, value in {
        "webhook": "http://127.0.0.1/",
        "instant_response": True,
        "temp": True,
        "expires_in": 3600.0,
    }.items():
        with pytest.raises(Invalid, match=f"{field} cannot be had with store none"):
            await jobs.submit(house.account, a_request("a small house", store=False, **{field: value}))
    with pytest.raises(Invalid, match="Idempotency-Key cannot be had"):
        await jobs.submit(house.account, a_request(store=False), once=Once(b"key", b"request"))
    with pytest.raises(Invalid, match="store is none for this account"):
        await jobs.submit(replace(house.account, stores=False), a_request())
    assert await rows(house, "SELECT count(*) AS n FROM jobs") == [{"n": 0}]


async def test_an_account_or_a_key_may_want_it_always(house: House) -> None:
    accounts = house.services.accounts
    key, secret = await accounts.create_key("tester")
    assert (await accounts.authenticate(secret)).stores
    await accounts.store(house.account, False, key.id)
    assert not (await accounts.authenticate(secret)).stores
    await accounts.store(house.account, True, key.id)
    await accounts.store(house.account, False)
    assert not (await accounts.authenticate(secret)).stores
    assert not await accounts.stores(house.account)
    with pytest.raises(NotFound):
        await accounts.store(Account(house.account.id + 1, ""), False, key.id)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not true():
            await asyncio.sleep(0.02)


def found(folder: Path, secrets: tuple[bytes, ...]) -> list[str]:
    """The files that hold any of it. What vanishes meanwhile holds nothing."""
    told = []
    for path in folder.rglob("*"):
        try:
            data = path.read_bytes() if path.is_file() else b""
        except FileNotFoundError:
            continue
        told += [f"{path} holds secret {number}" for number, secret in enumerate(secrets) if secret in data]
    return told
