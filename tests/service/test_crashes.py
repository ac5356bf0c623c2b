"""Real kills: of workers, of PostgreSQL, and of time itself. Whatever was accepted is made, once, and nothing is left over."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from pathlib import Path
from typing import Any

import pytest

from safelight.errors import Unavailable
from safelight.records import Job, JobState
from safelight.settings import Settings, read_settings
from safelight.storage.migrate import migrate
from safelight.storage.postgres import EmbeddedPostgres
from tests.house import House, a_bitmap, a_request, open_house, reconciling
from tests.invariants import check_invariants
from tests.service.rows import count, rows
from tests.worker_process import worker_process

pytestmark = pytest.mark.anyio


async def running(house: House, job: Job) -> Job:
    while (now := await house.services.jobs.get(house.account, job.id)).state is not JobState.running:
        assert not now.state.final
        await asyncio.sleep(0.02)
    return now


async def quiet(house: House) -> None:
    """Everything that a crash left behind has been dealt with."""
    await asyncio.sleep(house.settings.stalled_seconds)
    await house.rescue.stranded()
    await house.reconciler.keep_up(intent_seconds=0)
    await check_invariants(house.database, house.blobs)


async def submitted_in_the_end(house: House) -> Job:
    """As a patient client does."""
    async with asyncio.timeout(60):
        while True:
            try:
                return await house.submit()
            except Unavailable:
                await asyncio.sleep(0.1)


async def test_a_worker_killed_in_mid_generation(house: House) -> None:
    async with worker_process(house, step_seconds=1.0) as process:
        jobs = [await house.submit(a_request(seed=seed, webhook="http://x/"), init=a_bitmap()) for seed in range(3)]
        await running(house, jobs[0])
        process.kill()
    async with house.working(), reconciling(house):
        done = [await house.finished(job) for job in jobs]
    assert {job.state for job in done} == {JobState.succeeded}
    assert max(job.attempt for job in done) == 2
    assert await count(house, "usage") == await count(house, "outbox") == 3
    await quiet(house)


async def test_workers_killed_again_and_again(settings: Settings) -> None:
    """No kill is ever at a good moment: some hit the claim, some the writing of files, some the commit."""
    async with open_house(settings.model_copy(update={"max_attempts": 10})) as house:
        await kill_again_and_again(house, random.Random(7))


async def kill_again_and_again(house: House, luck: random.Random) -> None:
    jobs = [await house.submit(a_request(seed=seed, steps=2), init=a_bitmap()) for seed in range(24)]
    for _ in range(3):
        async with worker_process(house, step_seconds=0.05) as process:
            await asyncio.sleep(luck.uniform(0.1, 0.6))
            process.kill()
    async with house.working(), reconciling(house):
        done = [await house.finished(job) for job in jobs]
    assert {job.state for job in done} == {JobState.succeeded}
    assert await count(house, "usage") == 24
    await quiet(house)


async def test_a_worker_that_comes_back_from_the_dead_cannot_commit(house: House) -> None:
    async with worker_process(house, step_seconds=0.6) as process:
        job = await house.submit(init=a_bitmap())
        before = await running(house, job)
        (first,) = await rows(house, "SELECT fence FROM jobs")
        os.kill(process.pid or 0, signal.SIGSTOP)
        async with house.working(), reconciling(house):
            done = await house.finished(job)
        (second,) = await rows(house, "SELECT fence FROM jobs")
        assert (before.attempt, done.attempt, done.state) == (1, 2, JobState.succeeded)
        assert second["fence"] > first["fence"]
        kept = await rows(house, "SELECT blob_key FROM assets WHERE kind = 'output' AND state = 'live'")
        os.kill(process.pid or 0, signal.SIGCONT)
        await asyncio.sleep(2.5)  # it goes on painting, and is refused
        assert process.is_alive()
        assert await rows(house, "SELECT blob_key FROM assets WHERE kind = 'output' AND state = 'live'") == kept
        await house.submit()
        process.terminate()
        await asyncio.to_thread(process.join, 60)
    assert await house.services.jobs.get(house.account, job.id) == done
    async with house.working():
        pass
    await quiet(house)


async def test_a_writer_that_lost_its_lease_removes_what_it_wrote(house: House) -> None:
    """As late as can be: its pictures are written, and only the commit is missing."""
    real = house.worker._commit

    async def late(*parts: Any) -> None:
        house.worker._commit = real  # type: ignore[method-assign]  # from now on the world is quiet
        freed = 0
        while not freed:  # a heartbeat may come between
            async with house.database.pool.connection() as connection:
                await connection.execute("UPDATE jobs SET lease_until = now() - interval '1 second'")
            freed = await house.rescue.stranded()
        await real(*parts)

    house.worker._commit = late  # type: ignore[assignment,method-assign]  # the world changes just before
    async with house.working():
        job = await house.submit()
        assert (await house.finished(job)).attempt == 2
    await quiet(house)
    assert len(await house.blobs.keys()) == 1


async def test_postgresql_killed_while_everybody_works(data_dir: Path) -> None:
    server = EmbeddedPostgres(data_dir)
    url = server.start()
    migrate(url)
    keeping = asyncio.create_task(server.keep_alive())
    settings = read_settings(data_dir=data_dir, database_url=url, heartbeat_seconds=0.2, stalled_seconds=2.0)
    try:
        async with open_house(settings) as house, house.working() as painter, reconciling(house):
            painter.gate.clear()
            jobs = [await house.submit(a_request(seed=seed), init=a_bitmap()) for seed in range(6)]
            while len(painter.generations) < 3:
                await asyncio.sleep(0.02)
            os.kill(int((data_dir / "postgres/data/postmaster.pid").read_text().split()[0]), signal.SIGKILL)
            painter.gate.set()
            later = await submitted_in_the_end(house)
            done = [await house.finished(job) for job in (*jobs, later)]
            assert {job.state for job in done} == {JobState.succeeded}
            assert await count(house, "usage") == 7
            await quiet(house)
    finally:
        keeping.cancel()
        server.stop()
