"""A job and the worker that has its checkpoint in memory: they come together, and nobody waits for it for long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from safelight.records import Job, JobState
from safelight.service import courtesy
from safelight.service.pulse import Pulse
from safelight.settings import Settings
from tests.house import House, a_request, open_house
from tests.service.rows import rows

pytestmark = pytest.mark.anyio

HAS = Pulse(checkpoints={"rare": {"state": "loaded"}, "other": {"state": "loading"}})


@pytest.fixture
async def has(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    """It has said what it has, fetches nothing by itself, and hears."""
    monkeypatch.setattr(courtesy, "HEAD_START", 0.05)
    async with open_house(settings, name="has", pulse=HAS) as house:
        await house.worker._speak()
        yield house


@pytest.fixture
async def lacks(has: House, settings: Settings) -> AsyncIterator[House]:
    async with open_house(settings, name="lacks") as house:
        await house.worker._courtesy.look()
        yield house


async def entry_of(house: House, job: Job) -> int:
    [row] = await rows(house, f"SELECT task_id FROM jobs WHERE id = {job.id}")
    return int(row["task_id"])


async def test_a_job_is_made_where_its_checkpoint_is(has: House, lacks: House) -> None:
    job = await lacks.submit(a_request(model="rare"))
    entry = await entry_of(lacks, job)
    async with asyncio.timeout(60):
        while not (await lacks.services.jobs.get(lacks.account, job.id)).state.final:
            await lacks.worker._courtesy.offer(entry, job.id)  # again, since what is told before somebody hears is lost
    assert (await lacks.finished(job)).state is JobState.succeeded
    assert (len(has.painter.generations), lacks.painter.generations) == (1, [])
    await has.worker._courtesy.settle()


async def test_whoever_is_offered_it_and_does_not_come_is_not_waited_for(has: House, lacks: House) -> None:
    await has.worker._courtesy.settle()
    job = await lacks.submit(a_request(model="rare"))
    async with lacks.working():
        assert (await lacks.finished(job)).state is JobState.succeeded
    assert (has.painter.generations, len(lacks.painter.generations)) == ([], 1)


async def test_only_what_is_in_memory_elsewhere_and_not_here_is_offered(has: House, lacks: House) -> None:
    for model, taker in {"rare": "has", "other": None, "unknown": None, None: None}.items():
        job = await lacks.submit(a_request(model=model))
        entry = await entry_of(lacks, job)
        assert await lacks.worker._courtesy._taker(entry, job.id) == taker
        assert await has.worker._courtesy._taker(entry, job.id) is None
        assert await lacks.worker._courtesy._taker(entry + 1, job.id) is None  # another entry has it meanwhile
        has.worker._courtesy._hear(f"somebody {entry} {job.id}")
    has.worker._courtesy._pulse = lambda: Pulse(seconds_ahead=courtesy.MOST_AHEAD)
    for told in (f"has {entry} {job.id}", None):
        has.worker._courtesy._hear(told)
    assert not has.worker._courtesy._taken
    await lacks.worker._courtesy.settle()
    assert await lacks.worker._courtesy._taker(entry, job.id) is None
