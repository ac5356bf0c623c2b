"""A crash blames nobody by company: who was on board is tried again in smaller companies, until a culprit is alone."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence

import pytest

from safelight.records import Job, JobState
from safelight.service.board import ANYBODY, NOBODY, Board
from safelight.service.rescue import MOST_CLAIMS, NEVER_ENDED, POISON
from tests.crashes.processes import Told, begin, ended, name_of
from tests.house import House, a_bitmap, a_request
from tests.invariants import check_invariants
from tests.service.rows import count, rows
from tests.worker_process import DEADLY, die

pytestmark = pytest.mark.anyio


async def test_a_company_keeps_to_itself() -> None:
    board = Board()
    assert board.welcome == ANYBODY
    board.admit("a", None)
    board.admit("b", None)
    assert board.welcome == "free"
    first, second, third, free = (board.line_up(*who) for who in (("c", 1), ("d", 2), ("e", 1), ("f", None)))
    assert board.welcome == NOBODY
    board.leave("a")
    assert not first.is_set()
    board.leave("b")
    assert (first.is_set(), second.is_set(), third.is_set()) == (True, False, True)
    board.leave("d")
    board.leave("c")
    board.leave("e")
    assert free.is_set()
    assert board.welcome == "free"
    board.leave("f")
    assert board.welcome == ANYBODY


async def claim(house: House, welcome: str = ANYBODY) -> list[int]:
    """As one worker would claim what waits: those who are on board together."""
    waiting = await rows(
        house, "SELECT id, task_id, company FROM jobs WHERE state = 'queued' ORDER BY company NULLS LAST, id"
    )
    company = waiting[0]["company"]
    aboard = [row for row in waiting if row["company"] == company]
    for row in aboard:
        claimed = await house.database.one(
            "jobs.claim", id=row["id"], entry=row["task_id"], lease=60, worker="doomed", welcome=welcome
        )
        assert claimed is not None
    return [row["id"] for row in aboard]


async def succeed(house: House, ids: Sequence[int]) -> None:
    async with house.database.transaction() as tx:
        await tx.connection.execute(
            "UPDATE jobs SET state = 'succeeded', finished_at = now(), files = 0 WHERE id = ANY (%s)", [list(ids)]
        )
        await tx.connection.execute(
            "INSERT INTO usage SELECT id, account_id, 0, 0, 0 FROM jobs WHERE id = ANY (%s)", [list(ids)]
        )


async def test_one_culprit_among_thirty_one_others(house: House) -> None:
    jobs = [await house.submit(a_request(webhook="http://x/")) for _ in range(32)]
    culprit, deaths = jobs[17].id, 0
    while (await house.services.jobs.get(house.account, culprit)).state is not JobState.failed:
        aboard = await claim(house)
        if culprit not in aboard:
            await succeed(house, aboard)
            continue
        assert await house.rescue.bury("doomed", crashed=True) == len(aboard)
        deaths += 1
    while await count(house, "jobs WHERE state = 'queued'"):
        await succeed(house, await claim(house))
    assert deaths == 7  # with 32, 16, 8, 4 and 2 on board, and twice alone
    assert (await house.services.jobs.get(house.account, culprit)).error == POISON
    assert await rows(house, "SELECT state, count(*) FROM jobs GROUP BY state ORDER BY state") == [
        {"state": "failed", "count": 1},
        {"state": "succeeded", "count": 31},
    ]
    assert (await house.services.overview.statistics()).retries == {"crash": 32 + 16 + 8 + 4 + 2 + 1}


async def test_a_worker_that_is_killed_six_times_in_a_row_fails_no_job(house: House) -> None:
    jobs = [await house.submit() for _ in range(30)]
    for _ in range(6):
        await claim(house)
        await house.rescue.bury("doomed", crashed=True)
    assert await count(house, "jobs WHERE state = 'queued'") == 30
    async with house.working():
        assert {(await house.finished(job)).state for job in jobs} == {JobState.succeeded}
    await check_invariants(house.database, house.blobs)


async def test_who_had_not_begun_and_who_was_drained_is_not_concerned(house: House) -> None:
    for _ in range(3):
        await house.submit()
    await claim(house, NOBODY)
    assert await house.rescue.bury("doomed", crashed=True) == 3
    await claim(house)
    assert await house.rescue.bury("doomed", crashed=False) == 3
    assert await rows(house, "SELECT DISTINCT company, deaths, worker, begun FROM jobs") == [
        {"company": None, "deaths": 0, "worker": None, "begun": False}
    ]
    assert (await house.services.overview.statistics()).retries == {"bystander": 6}


async def test_what_a_dead_worker_had_fetched_and_not_claimed_is_free_at_once(house: House) -> None:
    for _ in range(2):
        await house.submit()
    async with house.database.transaction() as tx:
        await tx.connection.execute(
            "UPDATE procrastinate_jobs SET status = 'doing' WHERE id = (SELECT min(task_id) FROM jobs)"
        )
    before = await rows(house, "SELECT task_id FROM jobs ORDER BY id")
    assert await house.rescue.bury("doomed", crashed=True) == 0
    after = await rows(
        house, "SELECT task_id, p.status FROM jobs j JOIN procrastinate_jobs p ON p.id = task_id ORDER BY j.id"
    )
    assert after[1] == {**before[1], "status": "todo"}
    assert after[0]["task_id"] > before[1]["task_id"]
    async with house.working():
        assert {(await house.finished(job)).state for job in await _all(house)} == {JobState.succeeded}


async def _all(house: House) -> list[Job]:
    return [await house.services.jobs.get(house.account, row["id"]) for row in await rows(house, "SELECT id FROM jobs")]


async def test_suspects_are_made_apart_from_others_and_all_are_made(house: House) -> None:
    """By a real worker: at no time are two companies on board."""
    suspects = [await house.submit(a_request(seed=seed)) for seed in range(4)]
    await claim(house)
    await house.rescue.bury("doomed", crashed=True)
    free = [await house.submit(a_request(seed=seed)) for seed in range(4, 8)]
    house.painter.step_seconds = 0.02
    async with house.working():
        waiting = asyncio.gather(*(house.finished(job) for job in (*suspects, *free)))
        while not waiting.done():
            begun = await rows(
                house, "SELECT DISTINCT coalesce(company, 0) AS n FROM jobs WHERE state = 'running' AND begun"
            )
            assert len(begun) <= 1
            await asyncio.sleep(0.01)
        assert {job.state for job in await waiting} == {JobState.succeeded}
    await check_invariants(house.database, house.blobs)


async def test_who_waits_for_its_company_can_be_erased_meanwhile(house: House) -> None:
    house.painter.gate.clear()
    _, other = await house.submit(), await house.submit()
    async with house.database.transaction() as tx:
        await tx.connection.execute("UPDATE jobs SET company = 7 WHERE id = %s", [other.id])
    async with house.working():
        while len(house.worker._runs) < 2 or not house.painter.generations:
            await asyncio.sleep(0.01)
        waiting = next(run for run in house.worker._runs if not run.row["begun"])
        await house.services.erasure.delete(house.account, [waiting.id])
        while len(house.worker._runs) > 1:
            await asyncio.sleep(0.01)
        house.painter.gate.set()
    assert len(house.painter.generations) == 1
    await check_invariants(house.database, house.blobs)


@pytest.mark.chaos
async def test_a_real_culprit_among_thirty_one_others(house: House) -> None:
    jobs = [await house.submit(a_request(seed=seed), init=a_bitmap()) for seed in range(31)]
    culprit, deaths = await house.submit(a_request(DEADLY)), 0
    patient = house.settings.model_copy(update={"worker_concurrency": 32, "stalled_seconds": 60.0})
    while not (await house.services.jobs.get(house.account, culprit.id)).state.final:
        process = begin(patient, work_with_a_culprit, Told(house.settings.data_dir / "told"), step_seconds=0.05)
        name = name_of(process.pid or 0)
        assert await ended(process) == -signal.SIGKILL
        deaths += bool(await house.rescue.bury(name, crashed=True))
    async with house.working():
        assert {(await house.finished(job, 60)).state for job in jobs} == {JobState.succeeded}
    assert (await house.services.jobs.get(house.account, culprit.id)).error == POISON
    print(f"one culprit among {len(jobs)} others took {deaths} workers down")
    assert 2 <= deaths <= 7
    await check_invariants(house.database, house.blobs)


async def work_with_a_culprit(house: House, told: Told) -> None:
    house.painter.wrong = die
    await house.worker.run(asyncio.Event())


async def test_what_is_begun_again_and_again_in_silence_is_given_up_at_last(house: House) -> None:
    """As hosts that vanish would leave it: the lease ran out, and nobody saw a worker end."""
    job = await house.submit()
    for claims in (MOST_CLAIMS - 1, MOST_CLAIMS):
        await claim(house)
        async with house.database.transaction() as tx:
            await tx.connection.execute(
                "UPDATE jobs SET attempt = %s, lease_until = now() - interval '1 second'", [claims]
            )
        while not await house.rescue.stranded():
            await asyncio.sleep(0.1)  # a database that has just come back gives everybody time
    failed = await house.services.jobs.get(house.account, job.id)
    assert (failed.state, failed.error) == (JobState.failed, NEVER_ENDED)
    await check_invariants(house.database, house.blobs)
