"""A key that is revoked stops what it began: running and waiting jobs, and streams; nothing of other keys."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from safelight.errors import Unauthorized
from safelight.records import Account, Job, JobState, Standing
from safelight.service.revocation import REVOKED
from tests.house import House, a_request
from tests.invariants import check_invariants

pytestmark = pytest.mark.anyio


async def caller(house: House) -> Account:
    """With a key of its own of the house's one account."""
    _, secret = await house.services.accounts.create_key(house.account.name)
    return await house.services.accounts.authenticate(secret)


@asynccontextmanager
async def watching(house: House) -> AsyncIterator[None]:
    watch = asyncio.create_task(house.revocation.run())
    try:
        yield
    finally:
        watch.cancel()
        with suppress(asyncio.CancelledError):
            await watch


async def running(house: House, job: Job) -> None:
    async with asyncio.timeout(60):
        while (await house.services.jobs.get(house.account, job.id)).state is not JobState.running:
            await asyncio.sleep(0.05)


async def to_the_end(standings: AsyncGenerator[Standing, None]) -> JobState:
    return [each async for each in standings][-1].state


async def test_jobs_of_a_revoked_key_end_whether_they_run_or_wait(house: House) -> None:
    theirs, others = await caller(house), await caller(house)
    assert theirs.key_id
    house.painter.gate.clear()
    begun, kept = [await house.services.jobs.submit(account, a_request()) for account in (theirs, others)]
    async with watching(house):
        async with house.working():
            await running(house, begun)
            await running(house, kept)
            await house.services.accounts.revoke_own(house.account, theirs.key_id)
            ended = await house.finished(begun)
            assert (ended.state, ended.error, ended.outputs) == (JobState.failed, REVOKED, 0)
            assert (await house.services.jobs.get(house.account, kept.id)).state is JobState.running
            house.painter.gate.set()
            assert (await house.finished(kept)).state is JobState.succeeded
        waiting = await house.services.jobs.submit(others, a_request())
        late = await house.services.jobs.submit(theirs, a_request())  # was being accepted while the key was revoked
        assert (await house.finished(late)).error == REVOKED
        await house.services.accounts.revoke_key(str(others.key_id))
        assert (await house.finished(waiting)).error == REVOKED
    await check_invariants(house.database, house.blobs)


async def test_a_stream_ends_with_its_key(house: House) -> None:
    theirs, others = await caller(house), await caller(house)
    assert theirs.key_id
    job = await house.submit()
    following = house.services.following
    stopped, heard = following.follow(theirs, job.id), following.follow(others, job.id)
    assert (await anext(stopped)).state is (await anext(heard)).state is JobState.queued
    await house.services.accounts.revoke_own(house.account, theirs.key_id)
    with pytest.raises(Unauthorized):
        await asyncio.wait_for(to_the_end(stopped), 60)
    with pytest.raises(Unauthorized):
        await anext(following.follow(theirs, job.id))
    async with house.working():
        assert await to_the_end(heard) is JobState.succeeded
