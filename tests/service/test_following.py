"""Following jobs: everyone hears the end once, nobody hears of what is another's or erased, and nothing is asked of workers in vain."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from safelight.engine.generation import Generation
from safelight.errors import NotFound
from safelight.records import Account, Job, JobState, Standing
from safelight.service import following, telling
from safelight.service.progress import PREVIEW, STEPS
from tests.house import House, a_request, colour, sketch
from tests.invariants import check_invariants
from tests.service.rows import rows

pytestmark = pytest.mark.anyio

SLOW = 0.15


async def heard(house: House, job: Job, *, previews: bool = False, account: Account | None = None) -> list[Standing]:
    told: list[Standing] = []
    await listen(house, job, told, previews=previews, account=account)
    return told


async def listen(
    house: House, job: Job, told: list[Standing], *, previews: bool = False, account: Account | None = None
) -> None:
    async for each in house.services.following.follow(account or house.account, job.id, previews=previews):
        told.append(each)  # noqa: PERF401  # while others look at them


async def test_every_step_is_heard_and_the_end_once(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """By notifications: rows are looked at too seldom."""
    monkeypatch.setattr(following, "LOOK_SECONDS", 60.0)
    monkeypatch.setattr(telling, "WATCH_SECONDS", 600.0)
    job = await house.submit(a_request(steps=6))
    told: list[list[Standing]] = [[] for _ in range(20)]
    house.painter.heard = lambda _, step: step == 6 or all(each and each[-1].step >= step for each in told)
    listening = [asyncio.create_task(listen(house, job, each)) for each in told]
    async with asyncio.timeout(120):
        while not all(told):
            await asyncio.sleep(0.02)
        async with house.working():
            await asyncio.gather(*listening)
    for each in told:
        states = [standing.state for standing in each]
        assert (states[0], states[-1]) == (JobState.queued, JobState.succeeded)
        assert states.count(JobState.succeeded) == 1
        assert each[0].place == 1
        assert {standing.step for standing in each} >= {1, 2, 3, 4, 5}
        assert [standing.step for standing in each] == sorted(standing.step for standing in each)
        assert each[-1].job.outputs == 1
        assert all(standing.preview is None for standing in each)


async def test_previews_come_to_whoever_asks_and_pass_no_table(house: House) -> None:
    job = await house.submit(a_request(steps=8, seed=9))
    with_previews, without = list[Standing](), list[Standing]()
    house.painter.heard = lambda _, step: step < 8 or any(standing.preview for standing in with_previews)
    house.painter.step_seconds = 0.02
    async with house.working():
        await asyncio.gather(
            listen(house, job, with_previews, previews=True), listen(house, job, without, previews=False)
        )
    assert {standing.preview for standing in without} == {None}
    assert {standing.preview for standing in with_previews} - {None} == {sketch(colour(9, 8, 8))}
    assert [asked.previews for asked in house.painter.generations] == [False]  # they were wanted later
    tables = await rows(house, "SELECT c.relname FROM pg_class c WHERE c.relkind = 'r' AND c.relname LIKE '%preview%'")
    assert tables == []
    await check_invariants(house.database, house.blobs)


async def test_a_preview_that_no_notification_holds_is_left_out(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling, "MOST_PREVIEW", len(sketch(colour(9, 8, 8))) - 1)
    house.painter.step_seconds = SLOW
    job = await house.submit(a_request(steps=6, seed=9))
    listening = asyncio.create_task(heard(house, job, previews=True))
    async with house.working():
        told = await listening
    assert ({standing.preview for standing in told}, told[-1].state) == ({None}, JobState.succeeded)


async def test_what_the_safety_check_would_hide_is_not_shown_before(house: House) -> None:
    house.painter.step_seconds = SLOW
    first, second = list[Standing](), list[Standing]()
    house.painter.heard = lambda _, step: step < 6 or any(standing.preview for standing in second)
    async with house.working():
        flagged, fine = [await house.submit(a_request(steps=6, seed=seed, safety_checker=True)) for seed in (4, 5)]
        await asyncio.gather(listen(house, flagged, first, previews=True), listen(house, fine, second, previews=True))
    assert {standing.preview for standing in first} == {None}
    assert any(standing.preview for standing in second)


async def test_who_listens_to_nothing_costs_no_notification(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    run = house.database.run

    async def noted(query: str, **values: object) -> int:
        asked.append(values.get("channel"))
        return await run(query, **values)

    monkeypatch.setattr(house.database, "run", noted)
    house.painter.step_seconds = 0.05
    async with house.working():
        await house.finished(await house.submit())
    assert not {STEPS, PREVIEW} & set(asked)


async def test_erasure_is_the_last_that_is_heard(house: House) -> None:
    house.painter.gate.clear()
    async with house.working():
        job = await house.submit()
        listening = asyncio.create_task(heard(house, job, previews=True))
        while not house.painter.generations:
            await asyncio.sleep(0.02)
        await house.services.erasure.delete(house.account, [job.id])
        with pytest.raises(NotFound):
            await asyncio.wait_for(listening, 60)
    assert house.services.following._followed == {}


async def test_another_s_and_unknown_jobs_are_not_there(house: House) -> None:
    job, stranger = await house.submit(), await house.services.accounts.create_account("stranger")
    for account, job_id in ((stranger, job.id), (house.account, job.id + 1), (house.account, 2**70)):
        with pytest.raises(NotFound):
            await heard(house, replace(job, id=job_id), account=account)
        with pytest.raises(NotFound):
            await house.services.following.glance(account, job_id)


async def test_a_failure_is_heard(house: House) -> None:
    house.painter.wrong = lambda generation: ValueError("secret")
    async with house.working():
        told = await heard(house, await house.submit())
    assert (told[-1].state, told[-1].job.error) == (JobState.failed, "The picture could not be made.")


async def test_the_queue_moves_up(house: House) -> None:
    jobs = [await house.submit(a_request(steps=4)) for _ in range(3)]
    listening = house.services.following.follow(house.account, jobs[2].id)
    async with asyncio.timeout(60):
        first = await anext(listening)
        await house.services.erasure.delete(house.account, [jobs[0].id])
        second = await anext(listening)
        async with house.working():
            last = [each async for each in listening][-1]
    assert (first.place, second.place, last.state) == (3, 2, JobState.succeeded)
    assert first.seconds_left > 0


async def test_a_job_that_ends_while_notifications_are_lost_is_still_heard(house: House) -> None:
    house.painter.gate.clear()
    async with house.working():
        job = await house.submit()
        listening = asyncio.create_task(heard(house, job))
        while not house.painter.generations:
            await asyncio.sleep(0.02)
        house.services.following._hear_end = lambda payload: None  # type: ignore[method-assign]  # as if it never came
        house.database._listeners.clear()
        house.painter.gate.set()
        assert (await asyncio.wait_for(listening, 60))[-1].state is JobState.succeeded


async def test_a_closing_process_lets_its_listeners_go(house: House) -> None:
    job = await house.submit()
    listening = house.services.following.follow(house.account, job.id)
    async with asyncio.timeout(60):
        assert (await anext(listening)).state is JobState.queued
        house.services.following.close()
        assert [standing async for standing in listening] == []


async def test_glances_show_steps_and_previews(house: House) -> None:
    seen: list[Standing] = []

    def looked_at(_: Generation, step: int) -> bool:
        return any(standing.step == step and (step < 4 or standing.preview) for standing in seen)

    house.painter.heard = looked_at
    async with house.working():
        job = await house.submit(a_request(steps=4))
        while not (now := await house.services.following.glance(house.account, job.id)).job.state.final:
            seen.append(now)
            await asyncio.sleep(0.05)
    assert {standing.step for standing in seen} >= {1, 2, 3, 4}
    assert any(standing.preview for standing in seen)
