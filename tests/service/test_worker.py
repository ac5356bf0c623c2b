"""The worker: what it hands to the engine, what it keeps, and what it does when things go wrong."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from safelight.engine.generation import Spacing
from safelight.errors import EngineFailed, Invalid, NotFound, SetupFailed, Unavailable
from safelight.records import JobState
from safelight.service.worker import FAILED, INPUT_LOST
from safelight.working import wanted_queues
from tests.house import House, a_bitmap, a_request, colour, encode, reconciling
from tests.invariants import check_invariants
from tests.service.rows import count, rows

pytestmark = pytest.mark.anyio


async def test_a_job_becomes_pictures(house: House) -> None:
    async with house.working():
        job = await house.finished(await house.submit(a_request(samples=3, seed=2**32 - 1)))
    assert (job.state, job.outputs, job.model, job.step, job.attempt) == (JobState.succeeded, 3, "plain", 4, 1)
    assert (job.seconds, job.native_size, job.nsfw) == (0.5, (64, 64), (False, False, False))
    names = house.services.assets.output_names(job)
    assert names == [f"{job.file_prefix}-{number}.png" for number in range(3)]
    pictures = [(await house.services.assets.open(name))[1] for name in names]
    assert pictures == [encode(colour(seed, 64, 64)) for seed in (2**32 - 1, 0, 1)]
    await check_invariants(house.database, house.blobs)


async def test_the_engine_is_asked_for_what_the_caller_asked_for(house: House) -> None:
    request = a_request(
        negative_prompt="no", width=128, height=64, samples=2, steps=3, guidance_scale=2.5, strength=0.4, seed=9, model="m",
        sampler="DDIM", spacing="karras", algorithm_type="sde", loras=(("ink", 0.5),), clip_skip=2,
    )  # fmt: skip
    async with house.working():
        job = await house.finished(await house.submit(request))
    asked = house.painter.generations[0]
    for name in (
        "prompt", "negative_prompt", "width", "height", "samples", "steps", "guidance_scale", "strength", "seed", "model",
        "sampler", "algorithm_type", "clip_skip",
    ):  # fmt: skip
        assert getattr(asked, name) == getattr(request, name), name
    assert asked.spacing is Spacing.karras
    assert [(use.name, use.strength) for use in asked.loras] == [("ink", 0.5)]
    assert (asked.owner, job.model) == (str(house.account.id), "m")


async def test_a_flagged_picture_becomes_a_blank_one(house: House) -> None:
    async with house.working():
        checked = await house.finished(await house.submit(a_request(samples=2, seed=4, safety_checker=True)))
        free = await house.finished(await house.submit(a_request(samples=2, seed=4)))
    pictures = [(await house.services.assets.open(name))[1] for name in house.services.assets.output_names(checked)]
    assert pictures == [encode(colour(4, 64, 64) * 0), encode(colour(5, 64, 64))]
    assert (checked.nsfw, free.nsfw) == ((True, False), (False, False))


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (EngineFailed("secret"), FAILED),
        (NotFound("secret"), FAILED),
        (ZeroDivisionError("secret"), FAILED),
        (Invalid("model", "must be a known one"), "model must be a known one"),
    ],
)
async def test_what_fails_says_a_safe_sentence(house: House, wrong: Exception, sentence: str) -> None:
    house.painter.wrong = lambda generation: wrong if generation.prompt == "bad" else None
    async with house.working():
        bad, good = await house.submit(a_request("bad", webhook="http://x/")), await house.submit()
        failed = await house.finished(bad)
        assert (await house.finished(good)).state is JobState.succeeded
    assert (failed.state, failed.error, failed.outputs) == (JobState.failed, sentence, 0)
    await check_invariants(house.database, house.blobs)


async def test_an_input_that_vanished_fails_its_job(house: House) -> None:
    job = await house.submit(init=a_bitmap())
    for key in await house.blobs.keys():
        await house.blobs.delete(key)
    async with house.working():
        assert (await house.finished(job)).error == INPUT_LOST


async def test_progress_is_told_while_it_runs(house: House) -> None:
    house.painter.step_seconds = 0.3
    async with house.working():
        job = await house.submit(a_request(steps=5))
        seen = set()
        while not (now := await house.services.jobs.get(house.account, job.id)).state.final:
            seen.add(now.step)
            await asyncio.sleep(0.05)
    assert len(seen) >= 3
    assert seen <= set(range(6))


async def test_many_jobs_share_the_engine(house: House) -> None:
    house.painter.gate.clear()
    async with house.working():
        jobs = [await house.submit() for _ in range(10)]
        while len(house.painter.generations) < 10:
            await asyncio.sleep(0.02)
        house.painter.gate.set()
        assert {(await house.finished(job)).state for job in jobs} == {JobState.succeeded}


async def test_erasing_a_running_job_stops_it(house: House) -> None:
    house.painter.gate.clear()
    async with house.working():
        job = await house.submit(init=a_bitmap())
        while not house.painter.generations:
            await asyncio.sleep(0.02)
        await house.services.erasure.delete(house.account, [job.id])
        while house.worker._runs:
            await asyncio.sleep(0.02)
    assert house.painter.purged == [str(house.account.id)] * len(house.painter.purged)
    assert house.painter.purged
    assert await rows(house, "SELECT state FROM jobs") == [{"state": "cancelled"}]
    await house.reconciler.keep_up()
    assert await house.blobs.keys() == set()
    await check_invariants(house.database, house.blobs)


async def test_a_shutdown_hands_back_what_does_not_end_in_time(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("safelight.service.worker.DRAIN_SECONDS", 0.2)
    house.painter.gate.clear()
    async with house.working():
        job = await house.submit()
        while not house.painter.generations:
            await asyncio.sleep(0.02)
    back = await house.services.jobs.get(house.account, job.id)
    assert (back.state, back.attempt, back.step) == (JobState.queued, 0, 0)
    await check_invariants(house.database, house.blobs)
    house.painter.gate.set()
    async with house.working():
        assert (await house.finished(job)).state is JobState.succeeded
    await check_invariants(house.database, house.blobs)


async def test_a_shutdown_lets_finish_what_can(house: House) -> None:
    house.painter.step_seconds = 0.1
    async with house.working():
        job = await house.submit()
        while not house.painter.generations:
            await asyncio.sleep(0.02)
    assert (await house.services.jobs.get(house.account, job.id)).state is JobState.succeeded


async def test_a_store_that_is_away_for_a_moment_costs_nothing_but_time(house: House) -> None:
    put, failures = house.blobs.put, [1, 2, 3]

    async def flaky(key: str, data: bytes) -> None:
        if failures:
            failures.pop()
            raise Unavailable
        await put(key, data)

    house.blobs.put = flaky  # type: ignore[method-assign]  # the outage
    async with house.working():
        assert (await house.finished(await house.submit())).state is JobState.succeeded
    await check_invariants(house.database, house.blobs)


async def test_a_commit_whose_answer_is_lost_counts_once(house: House) -> None:
    lost: list[bool] = []
    real = house.worker._commit

    async def cut(*parts: Any) -> None:
        await real(*parts)
        if not lost:
            lost.append(True)
            raise Unavailable

    house.worker._commit = cut  # type: ignore[assignment,method-assign]  # the line is cut after COMMIT was sent
    async with house.working():
        job = await house.finished(await house.submit(a_request(webhook="http://x/")))
        assert job.state is JobState.succeeded
        while house.worker._runs:
            await asyncio.sleep(0.02)
    assert lost
    assert await count(house, "usage") == await count(house, "outbox") == 1
    assert (await house.services.jobs.get(house.account, job.id)).outputs == 1
    await check_invariants(house.database, house.blobs)


async def test_a_job_that_takes_its_workers_along_is_given_up(house: House) -> None:
    """As a worker that dies each time would leave it: claimed, and begun."""
    job = await house.submit(a_request(webhook="http://x/"))
    for attempt in range(1, house.settings.max_attempts + 1):
        (row,) = await rows(house, "SELECT id, task_id FROM jobs")
        claimed = await house.database.one(
            "jobs.claim", id=row["id"], entry=row["task_id"], lease=60, worker="doomed", welcome="anybody"
        )
        assert claimed is not None
        assert claimed["attempt"] == attempt
        assert await house.rescue.bury("doomed", crashed=True) == 1
    failed = await house.services.jobs.get(house.account, job.id)
    assert (failed.state, failed.attempt) == (JobState.failed, house.settings.max_attempts)
    assert await count(house, "outbox") == 1
    await check_invariants(house.database, house.blobs)


async def test_a_lost_entry_of_the_queue_is_made_again(house: House) -> None:
    job = await house.submit()
    async with house.database.pool.connection() as connection:
        await connection.execute("DELETE FROM procrastinate_jobs")
    async with house.working(), reconciling(house):
        assert (await house.finished(job)).state is JobState.succeeded
    await check_invariants(house.database, house.blobs)


async def test_finish_and_delete_race_and_the_delete_holds(house: House) -> None:
    house.painter.step_seconds = 0.005
    async with house.working():
        for round_ in range(15):
            job = await house.submit(a_request(samples=2, seed=round_), init=a_bitmap())
            await asyncio.sleep(0.01 * round_)
            await house.services.erasure.delete(house.account, [job.id])
            for number in range(2):
                with pytest.raises(NotFound):
                    await house.services.assets.open(f"{job.file_prefix}-{number}.png")
            with pytest.raises(NotFound):
                await house.services.jobs.get(house.account, job.id)
    await asyncio.sleep(house.settings.stalled_seconds)
    await house.reconciler.keep_up()
    assert await count(house, "assets WHERE state <> 'gone'") == 0
    assert await house.blobs.keys() == set()
    await check_invariants(house.database, house.blobs)


async def test_inputs_wait_for_a_running_job_when_the_cache_is_cleared(house: House) -> None:
    house.painter.gate.clear()
    async with house.working():
        job = await house.submit(init=a_bitmap())
        await house.services.erasure.clear_cache(house.account)
        assert len(await house.blobs.keys()) == 1
        house.painter.gate.set()
        assert (await house.finished(job)).state is JobState.succeeded
    assert await count(house, "assets WHERE kind = 'init_image' AND state = 'live'") == 0
    await house.reconciler.keep_up()
    await check_invariants(house.database, house.blobs)


async def test_requests_erased_while_waiting_are_never_made(house: House) -> None:
    job = await house.submit(replace(a_request(), webhook="http://x/"))
    await house.services.erasure.delete(house.account, [job.id])
    async with house.working():
        await house.finished(await house.submit(a_request("kept")))
    assert [asked.prompt for asked in house.painter.generations] == ["kept"]
    await check_invariants(house.database, house.blobs)


async def test_a_queue_that_does_not_exist_is_named() -> None:
    assert wanted_queues(None) == {"pictures", "edits", "models"}
    assert wanted_queues(["pictures"]) == {"pictures"}
    with pytest.raises(SetupFailed, match="no queue painting"):
        wanted_queues(["pictures", "painting"])
