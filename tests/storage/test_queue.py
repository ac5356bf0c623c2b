"""Entries live and die with the transaction that made them, and carry ids only."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from safelight.errors import Unavailable
from safelight.storage.database import Database
from safelight.storage.queue import Queue

pytestmark = pytest.mark.anyio


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url)
    await database.open()
    yield database
    await database.close()


@pytest.fixture
async def queue(database: Database) -> Queue:
    queue = Queue(database, heartbeat_seconds=0.2, stalled_seconds=1.0)
    await queue.open()
    return queue


async def entries(database: Database) -> list[dict[str, object]]:
    async with database.pool.connection() as connection:
        return await (
            await connection.execute("SELECT args, status::text FROM procrastinate_jobs ORDER BY id")
        ).fetchall()


async def test_an_entry_exists_from_the_commit_on(database: Database, queue: Queue) -> None:
    with contextlib.suppress(ZeroDivisionError):
        async with database.transaction() as tx:
            await queue.defer(tx, "pictures", 1)
            raise ZeroDivisionError
    async with database.transaction() as tx:
        await queue.defer(tx, "pictures", 2)
        assert await entries(database) == []
    assert await entries(database) == [{"args": {"about": "2"}, "status": "todo"}]


async def test_a_line_that_is_lost_meanwhile_is_an_outage(database: Database, queue: Queue) -> None:
    async with database.transaction() as tx:
        await tx.connection.close()
        with pytest.raises(Unavailable):
            await queue.defer(tx, "pictures", 1)
    assert await entries(database) == []


async def test_work_by_priority_and_in_its_time(database: Database, queue: Queue) -> None:
    done = asyncio.Queue[str]()

    async def task(entry: int, about: str) -> None:
        assert entry > 0
        await done.put(about)

    queue.teach("pictures", task)
    async with database.transaction() as tx:
        for about, priority, seconds in (("late", 9, 1.2), ("low", -3, 0), ("high", 0, 0), ("high too", 0, 0)):
            await queue.defer(tx, "pictures", about, priority=priority, seconds=seconds)
        await queue.defer(tx, "webhooks", "another queue")
    working = asyncio.create_task(queue.work(["pictures"], concurrency=1))
    assert [await done.get() for _ in range(4)] == ["high", "high too", "low", "late"]
    working.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await working
    assert done.empty()


async def test_work_outlives_the_connections(database: Database, queue: Queue) -> None:
    done = asyncio.Queue[str]()

    async def task(entry: int, about: str) -> None:
        await done.put(about)

    queue.teach("pictures", task)
    working = asyncio.create_task(queue.work(["pictures"], concurrency=4))
    for round_ in ("one", "two"):
        async with database.transaction() as tx:
            await queue.defer(tx, "pictures", round_)
        assert await asyncio.wait_for(done.get(), 60) == round_
        async with database.pool.connection() as connection:
            await connection.execute(
                "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
    working.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await working
