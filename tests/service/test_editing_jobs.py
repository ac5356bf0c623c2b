"""Enlarging, cutting out and captioning are jobs like any other: beside generations, through kills, and to the last byte of an erasure."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from safelight.engine.upscaling import UpscalingRoom
from safelight.errors import NotFound
from safelight.records import AssetKind, CaptionRequest, CutOutRequest, Job, JobRequest, JobState, UpscaleRequest
from safelight.settings import Settings
from tests.house import House, a_bitmap, a_request, open_house, reconciling
from tests.service.rows import count, rows
from tests.service.test_crashes import quiet, running
from tests.worker_process import worker_process

pytestmark = pytest.mark.anyio

PATIENCE = 60.0  # seconds
FEW = {"edit_concurrency": 2, "worker_concurrency": 2}


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """While it is closed, nothing is enlarged."""
    opened, call = threading.Event(), UpscalingRoom._call
    opened.set()

    def held(self: UpscalingRoom, pieces: object) -> object:
        assert opened.wait(PATIENCE)
        return call(self, pieces)  # type: ignore[arg-type]

    monkeypatch.setattr(UpscalingRoom, "_call", held)
    yield opened
    opened.set()


def upscale(times: int = 2, side: int = 64) -> UpscaleRequest:
    return UpscaleRequest(width=side * times, height=side * times)


async def submit(house: House, request: JobRequest, side: int = 64) -> Job:
    return await house.services.jobs.submit(house.account, request, {AssetKind.init_image: a_bitmap(side=side)})


async def test_neither_kind_of_work_keeps_the_other_waiting(settings: Settings, gate: threading.Event) -> None:
    async with open_house(settings.model_copy(update=FEW)) as house, house.working() as painter:
        gate.clear()
        edits = [await submit(house, upscale()) for _ in range(5)]
        await running(house, edits[0])
        drawn = await house.finished(await house.submit(), PATIENCE)
        assert drawn.state is JobState.succeeded
        painter.gate.clear()
        pictures = [await house.submit(a_request(seed=seed)) for seed in range(5)]
        await running(house, pictures[0])
        gate.set()
        assert {(await house.finished(job, PATIENCE)).state for job in edits} == {JobState.succeeded}
        painter.gate.set()
        assert {(await house.finished(job, PATIENCE)).state for job in pictures} == {JobState.succeeded}


async def test_killed_in_the_middle_they_are_made_once(house: House) -> None:
    asked = (CaptionRequest(pixels=400**2, captioner="any"), upscale(4, 400), CutOutRequest(pixels=400**2))
    async with worker_process(house, step_seconds=2 * PATIENCE) as process:
        jobs = [await submit(house, each, 400) for each in asked]
        for each in (jobs[1], jobs[0]):
            await running(house, each)
        process.kill()
    async with house.working(), reconciling(house):
        done = [await house.finished(job, PATIENCE) for job in jobs]
    assert [(job.state, job.outputs) for job in done] == [(JobState.succeeded, pictures) for pictures in (0, 1, 1)]
    assert await house.services.assets.texts(house.account, done[0]) == ["normal"]
    assert min(job.attempt for job in done[:2]) >= 2
    assert [row["pictures"] for row in await rows(house, "SELECT pictures FROM usage ORDER BY job_id")] == [0, 1, 1]
    await quiet(house)


async def test_erased_in_the_middle_nothing_of_them_is_left(house: House, gate: threading.Event) -> None:
    async with house.working():
        gate.clear()
        job = await submit(house, upscale())
        await running(house, job)
        await house.services.erasure.delete(house.account, [job.id])
        gate.set()
        other = await house.finished(await submit(house, upscale()), PATIENCE)
        await house.services.erasure.delete(house.account, [other.id])
        with pytest.raises(NotFound):
            await house.services.jobs.get(house.account, job.id)
    await quiet(house)
    assert await count(house, "requests") == 0
    assert not [path for path in (house.settings.data_dir / "blobs").rglob("*") if path.is_file()]
