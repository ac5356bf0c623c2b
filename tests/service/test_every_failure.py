"""Each call of the database and of the blob store fails once, one after the other, until a picture's whole life passes untouched.

A client that tries again is all that is needed: one job, one picture, one charge, and after its deletion nothing.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import psycopg
import pytest

from safelight.cancelling import cancel
from safelight.errors import NotFound, Unavailable
from safelight.records import Job, JobState, Receipt
from safelight.service.once import once_for
from safelight.settings import Settings
from safelight.storage.blobs import LocalBlobs
from safelight.storage.database import Transaction
from tests.house import House, a_bitmap, a_request, open_house
from tests.invariants import check_invariants
from tests.service.rows import count

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

T = TypeVar("T")


class Fault:
    """Counts calls, and says of one of them that it is to fail."""

    def __init__(self) -> None:
        self.calls, self.nth = 0, 0

    def set(self, nth: int) -> None:
        self.calls, self.nth = 0, nth

    def due(self) -> bool:
        self.calls += 1
        return self.calls == self.nth


@pytest.fixture
def before(monkeypatch: pytest.MonkeyPatch) -> Fault:
    """Statements and the store fail before they have done anything; the database's line is cut."""
    fault, execute, store = Fault(), Transaction._execute, LocalBlobs._do

    async def statement(self: Transaction, query: str, values: Any) -> Any:
        if fault.due():
            await self.connection.close()
            raise psycopg.OperationalError("cut before")
        return await execute(self, query, values)

    async def call(self: LocalBlobs, work: Callable[..., Any], *values: object) -> Any:
        if fault.due():
            raise Unavailable
        return await store(self, work, *values)

    monkeypatch.setattr(Transaction, "_execute", statement)
    monkeypatch.setattr(LocalBlobs, "_do", call)
    return fault


@pytest.fixture
def after(monkeypatch: pytest.MonkeyPatch) -> Fault:
    """Commits and the store do what was asked, and the answer is lost."""
    fault, commit, store = Fault(), psycopg.AsyncConnection.commit, LocalBlobs._do

    async def committed(self: psycopg.AsyncConnection[Any]) -> None:
        await commit(self)
        if fault.due():
            await self.close()
            raise psycopg.OperationalError("cut after")

    async def called(self: LocalBlobs, work: Callable[..., Any], *values: object) -> Any:
        result = await store(self, work, *values)
        if fault.due():
            raise Unavailable
        return result

    monkeypatch.setattr(psycopg.AsyncConnection, "commit", committed)
    monkeypatch.setattr(LocalBlobs, "_do", called)
    return fault


@pytest.fixture
async def brisk(settings: Settings) -> AsyncIterator[House]:
    async with open_house(settings.model_copy(update={"heartbeat_seconds": 0.1, "stalled_seconds": 0.8})) as house:
        yield house


async def patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """As a client does that is told to come back."""
    for _ in range(5):
        try:
            return await ask()
        except Unavailable:
            await asyncio.sleep(0.05)
    return await ask()


@asynccontextmanager
async def rescuing(house: House) -> AsyncIterator[None]:
    """Other processes look after the stranded, as they do in every house."""

    async def look() -> None:
        while True:
            await asyncio.sleep(0.2)
            await patiently(house.rescue.stranded)

    looking = asyncio.create_task(look())
    try:
        yield
    finally:
        await cancel(looking)


async def live(house: House, number: int) -> tuple[Job, Receipt]:
    """Accepted, made, read and deleted, whatever fails once on the way."""
    services, once = house.services, once_for(f"mark-{number}-{secrets.token_hex(4)}", "the same")
    job = await patiently(lambda: house.submit(a_request(seed=number), init=a_bitmap(), once=once))
    async with house.working(), rescuing(house):
        done = await patiently(lambda: house.finished(job))
    assert (done.state, done.error) == (JobState.succeeded, None)
    (name,) = services.assets.output_names(done)
    assert (await patiently(lambda: services.assets.open(name)))[1].startswith(b"\x89PNG")
    receipt = await patiently(lambda: services.erasure.delete(house.account, [job.id]))
    with pytest.raises(NotFound):
        await patiently(lambda: services.assets.open(name))
    return done, receipt


async def nothing_left(house: House, job: Job, receipt: Receipt) -> None:
    await house.rescue.stranded()
    await house.reconciler.keep_up(intent_seconds=0)
    assert await house.blobs.keys() == set()
    assert (await house.services.erasure.receipt(house.account, str(receipt.id))).verified_at is not None
    assert await count(house, f"usage WHERE job_id = {job.id}") == 1
    await check_invariants(house.database, house.blobs)


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_every_call_may_fail_once(brisk: House, request: pytest.FixtureRequest, moment: str) -> None:
    fault: Fault = request.getfixturevalue(moment)
    jobs = 0
    for nth in range(1, 400):
        fault.set(nth)
        job, receipt = await live(brisk, nth)
        reached, jobs = fault.calls >= nth, jobs + 1
        fault.set(0)
        await nothing_left(brisk, job, receipt)
        assert await count(brisk, "jobs") == jobs
        if not reached:
            break
    else:
        raise AssertionError("the calls never came to an end")
    assert nth > 20
