"""Jobs: what is accepted and refused, how they are waited for, and what is told of them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from safelight.errors import Invalid, NotFound, Overloaded, OverQuota, Unavailable
from safelight.records import AssetKind, Job, JobState, QueueLoad
from safelight.service.once import once_for
from safelight.service.requests import from_json, to_json
from safelight.service.speed import UNMEASURED
from safelight.settings import Settings
from safelight.storage.blobs import open_blobs
from tests.house import House, a_bitmap, a_request, open_house
from tests.invariants import check_invariants
from tests.service.rows import count, rows

pytestmark = pytest.mark.anyio


async def test_an_accepted_job_is_told_as_it_was_asked(house: House) -> None:
    request = a_request(
        webhook="http://x/", track_id=12, extras={"a": [1, None]}, loras=(("ink", 0.5),), negative_prompt="ö\u202e🎈"
    )
    job = await house.submit(request)
    assert (job.state, job.request, job.steps, job.outputs) == (JobState.queued, request, 4, 0)
    assert await house.services.jobs.get(house.account, job.id) == job
    assert await house.services.jobs.find(house.account, str(job.id)) == job
    assert await house.services.jobs.find(house.account, job.file_prefix) == job
    assert await house.services.jobs.find(house.account, job.file_prefix.upper()) == job
    await check_invariants(house.database, house.blobs)


async def test_what_is_anothers_is_not_there(house: House) -> None:
    job = await house.submit()
    other = await house.services.accounts.create_account("other")
    for ask in (house.services.jobs.get(other, job.id), house.services.jobs.wait(other, job.id, 0.1)):
        with pytest.raises(NotFound):
            await ask
    for task in (job.file_prefix, str(job.id), "", "x", "9" * 30, "²", "\x00", "-1", "0"):
        with pytest.raises(NotFound):
            await house.services.jobs.find(other, task)
    for unknown in (0, -1, 2**63, 2**70, job.id + 1):
        with pytest.raises(NotFound):
            await house.services.jobs.get(house.account, unknown)


@pytest.mark.parametrize(
    "broken",
    [
        {"prompt": "a\x00b"},
        {"negative_prompt": "\ud800"},
        {"track_id": "\x00"},
        {"extras": {"x": ["\x00"]}},
        {"guidance_scale": float("nan")},
        {"strength": float("inf")},
    ],
)
async def test_what_cannot_be_kept_is_refused_and_leaves_nothing(house: House, broken: dict[str, object]) -> None:
    with pytest.raises(Invalid):
        await house.submit(replace(a_request(), **broken), init=a_bitmap())  # type: ignore[arg-type]  # as broken as that
    assert await count(house, "jobs") == await count(house, "assets") == 0


async def test_a_request_survives_its_way_to_json_and_back() -> None:
    request = a_request(extras={"scheduler": "x"}, temp=True, seed=2**32 - 1, track_id="7")
    assert from_json(to_json(request)) == request
    assert from_json({**to_json(request), "a_field_of_tomorrow": 1}) == request


async def test_a_hundred_at_once_at_a_limit_of_ten(settings: Settings) -> None:
    async with open_house(settings.model_copy(update={"account_queue": 10})) as house:
        answers = await asyncio.gather(*(house.submit(init=a_bitmap()) for _ in range(100)), return_exceptions=True)
        assert sum(isinstance(answer, Job) for answer in answers) == 10
        refused = [answer for answer in answers if not isinstance(answer, Job)]
        assert {type(answer) for answer in refused} == {OverQuota}
        assert all(isinstance(answer, OverQuota) and answer.retry_after >= 1 for answer in refused)
        assert await count(house, "procrastinate_jobs") == 10
        await house.reconciler.keep_up(intent_seconds=0)
        await check_invariants(house.database, house.blobs)
        assert len(await house.blobs.keys()) == 10


async def test_a_full_house_refuses_everybody(settings: Settings) -> None:
    async with open_house(settings.model_copy(update={"total_queue": 3})) as house:
        for name in ("a", "b", "c"):
            owner = await house.services.accounts.create_account(name)
            await house.services.jobs.submit(owner, a_request())
        with pytest.raises(Overloaded):
            await house.submit()
        with pytest.raises(Overloaded):
            async with house.services.jobs.room(house.account):
                pass
        assert await house.services.jobs.load() == QueueLoad(3, 0, 3 * 64 * 64 * 8 / 2e6)


async def test_who_is_arriving_counts_as_waiting(settings: Settings) -> None:
    async with open_house(settings.model_copy(update={"account_queue": 3})) as house:
        await house.submit()
        room = house.services.jobs.room
        async with room(house.account), room(house.account):
            with pytest.raises(OverQuota):
                async with room(house.account):
                    pass
            other = await house.services.accounts.create_account("another")
            async with room(other):
                pass
        async with room(house.account):
            await house.submit()


async def test_waiting_ends_when_the_job_does(house: House) -> None:
    house.painter.gate.clear()
    async with house.working():
        job = await house.submit()
        waiting = [asyncio.create_task(house.services.jobs.wait(house.account, job.id, 600)) for _ in range(20)]
        assert not (await house.services.jobs.wait(house.account, job.id, 0.3)).state.final
        house.painter.gate.set()
        async with asyncio.timeout(120):
            assert {(await each).state for each in waiting} == {JobState.succeeded}


async def test_who_has_few_waiting_goes_first(house: House) -> None:
    other = await house.services.accounts.create_account("other")
    crowd = [await house.submit(a_request("crowd")) for _ in range(6)]
    single = await house.services.jobs.submit(other, a_request("single"))
    jobs = house.services.jobs
    assert await jobs.eta(single) < await jobs.eta(crowd[2])
    async with open_house(house.settings.model_copy(update={"worker_concurrency": 1})) as second, second.working():
        await house.finished(crowd[-1])
        assert [each.prompt for each in second.painter.generations].index("single") == 1


async def test_eta_is_what_the_workers_measured(house: House) -> None:
    house.painter.step_seconds = 0.05
    async with house.working():
        await house.finished(await house.submit())
        async with asyncio.timeout(60):
            while not (measured := await rows(house, "SELECT seconds_per_cost FROM nodes WHERE seconds_per_cost > 0")):
                await asyncio.sleep(0.05)
    job = await house.submit()
    (priced,) = await rows(house, f"SELECT cost FROM jobs WHERE id = {job.id}")
    expected = pytest.approx(priced["cost"] * measured[0]["seconds_per_cost"], rel=0.01)
    assert priced["cost"] / UNMEASURED < await house.services.jobs.eta(job) == expected
    assert (await house.services.jobs.load()).seconds == expected
    ended = await house.services.overview.statistics()
    assert ended.outcomes == {"succeeded": 1, "failed": 0, "cancelled": 0}
    assert (ended.waiting, ended.running, [worker.name for worker in ended.workers]) == (1, 0, ["test"])
    assert ended.blob_bytes > 0


@pytest.mark.parametrize("moment", ["before the bytes", "after the bytes"])
async def test_a_crash_between_intent_and_accept_leaves_nothing(house: House, moment: str) -> None:
    """The process dies there, so nobody tidies up but the reconciler."""
    jobs, blobs = house.services.jobs, house.blobs

    class Dying:
        async def put(self, key: str, data: bytes) -> None:
            if moment == "after the bytes":
                await blobs.put(key, data)
            raise KeyboardInterrupt

    jobs._blobs = Dying()  # type: ignore[assignment]  # as much of a store as is asked
    with pytest.raises(KeyboardInterrupt):
        await jobs.submit(house.account, a_request(), {AssetKind.init_image: a_bitmap()})
    assert await count(house, "jobs") == 0
    assert await count(house, "assets WHERE state = 'pending'") == 1
    await house.reconciler.keep_up()
    assert await count(house, "assets WHERE state = 'pending'") == 1  # it may still be on its way
    await house.reconciler.keep_up(intent_seconds=0)
    assert await count(house, "assets WHERE state = 'gone'") == 1
    assert await blobs.keys() == set()
    await check_invariants(house.database, blobs)


@pytest.mark.parametrize("committed", [True, False])
async def test_a_commit_whose_answer_is_lost(house: House, committed: bool) -> None:
    jobs, real = house.services.jobs, house.services.jobs._accept

    async def cut(*parts: Any) -> None:
        if committed:
            await real(*parts)
        raise Unavailable

    jobs._accept = cut  # type: ignore[assignment,method-assign]  # the line is cut after COMMIT was sent
    if committed:
        assert (await house.submit(init=a_bitmap())).state is JobState.queued
    else:
        with pytest.raises(Unavailable):
            await house.submit(init=a_bitmap())
    assert await count(house, "jobs") == int(committed)
    assert len(await house.blobs.keys()) == int(committed)
    await check_invariants(house.database, house.blobs)


async def test_a_store_that_does_not_answer_leaves_nothing_accepted(house: House) -> None:
    (house.settings.data_dir / "blobs").write_text("in the way")
    with pytest.raises(Unavailable):
        await house.submit(init=a_bitmap())
    assert await count(house, "jobs") == 0
    (house.settings.data_dir / "blobs").unlink()
    await house.reconciler.keep_up(intent_seconds=0)
    await check_invariants(house.database, open_blobs(house.settings.blobs_url))


async def test_the_database_may_drop_every_connection(house: House) -> None:
    await house.submit()
    async with house.database.pool.connection() as connection:
        await connection.execute(
            "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    for _ in range(10):
        await house.submit()
    assert await count(house, "jobs") == 11
    await check_invariants(house.database, house.blobs)


async def test_requests_of_every_shape(house: House) -> None:
    request = a_request(samples=4, steps=1)
    async with house.working():
        job = await house.finished(await house.submit(request, init=a_bitmap(1), mask=a_bitmap(2)))
    assert job.outputs == 4
    asked = house.painter.generations[0]
    assert asked.init_image is not None
    assert asked.mask_image is not None
    assert (asked.init_image[0, 0, 0], asked.mask_image[0, 0, 0], asked.owner) == (2, 3, str(house.account.id))


async def test_marks_of_requests_are_forgotten_after_a_day(house: House) -> None:
    once = once_for("mark", "what was asked")
    first = await house.submit(once=once)
    assert await house.services.jobs.earlier(house.account, once) == first
    assert await house.submit(once=once) == first
    await house.reconciler.keep_up()
    assert await count(house, "once") == 1
    async with house.database.transaction() as tx:
        await tx.connection.execute("UPDATE once SET created_at = now() - interval '25 hours'")
    await house.reconciler.keep_up()
    assert await house.services.jobs.earlier(house.account, once) is None
    assert (await house.submit(once=once)).id != first.id
