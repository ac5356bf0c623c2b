"""Named queries, transactions, lost connections, notifications."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest

import safelight
from safelight.errors import SetupFailed, Unavailable
from safelight.storage.database import QUERIES, Database, read_queries

pytestmark = pytest.mark.anyio

KILL_THE_OTHERS = """
    SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"""


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url)
    await database.open()
    yield database
    await database.close()


def test_a_file_of_queries(tmp_path: Path) -> None:
    (tmp_path / "birds.sql").write_text(
        "-- about birds\n\n-- name: count\nSELECT 1\n\n-- name: sing\n-- why\nSELECT 2\n"
    )
    assert read_queries(tmp_path) == {"birds.count": b"SELECT 1", "birds.sing": b"-- why\nSELECT 2"}


async def test_postgresql_understands_every_query(database: Database) -> None:
    commands = {"upkeep.checkpoint", "upkeep.be_modest", "upkeep.be_patient"}  # which cannot be explained
    async with database.pool.connection() as connection:
        for name in QUERIES.keys() - commands:
            await connection.execute(b"EXPLAIN " + re.sub(rb"%\(\w+\)s", b"NULL", QUERIES[name]))


TOLD = (
    "usage.totals", "usage.spent", "usage.history", "usage.transactions", "usage.transactions_count", "jobs.count_made", "jobs.made",
    "jobs.page", "overview.done", "overview.failures", "outbox.posted", "ledger.covered", "models.kept", "models.begun",
)  # fmt: skip
GROWING = re.compile(r"Seq Scan on (assets|entries|holds|jobs|outbox|usage)\b")


@pytest.mark.parametrize("account", [b"1", b"NULL"])
async def test_what_an_account_is_told_is_not_looked_for_among_everybodys(database: Database, account: bytes) -> None:
    """A table is read whole only where no index can answer: reading tables is made dear."""
    given = {
        b"account": account,
        b"limit": b"10",
        b"skip": b"0",
        b"offset": b"0",
        b"count": b"24",
        b"span": b"'hour'",
        b"before": b"9",
    }
    async with database.pool.connection() as connection:
        await connection.execute("SET LOCAL enable_seqscan = off")
        for name in TOLD:
            query = re.sub(rb"%\((\w+)\)s", lambda found: given.get(found[1], b"NULL"), QUERIES[name])
            cursor = await connection.execute(b"EXPLAIN (FORMAT TEXT) " + query)
            plan = "\n".join(str(row) for row in await cursor.fetchall())
            assert not GROWING.search(plan), (name, plan)


def test_every_query_is_asked_and_every_one_asked_is_there() -> None:
    code = "\n".join(path.read_text("utf-8") for path in Path(safelight.__file__).parent.rglob("*.py"))
    asked = set(re.findall(r'"((?:' + "|".join({name.split(".")[0] for name in QUERIES}) + r')\.(?!html")\w+)"', code))
    assert asked == set(QUERIES)


async def test_a_transaction_is_kept_whole_or_not_at_all(database: Database) -> None:
    with contextlib.suppress(ZeroDivisionError):
        async with database.transaction() as tx:
            await tx.one("accounts.ensure", name="lost", secret=b"")
            raise ZeroDivisionError
    async with database.transaction() as tx:
        await tx.one("accounts.ensure", name="kept", secret=b"")
    async with database.pool.connection() as connection:
        assert await (await connection.execute("SELECT name FROM accounts")).fetchall() == [{"name": "kept"}]


async def test_a_check_that_was_cancelled_half_way_leaves_no_half_transactions(database: Database) -> None:
    """The pool looks whether a connection lives by switching autocommit on, and may not come to switch it off again."""
    async with database.pool.connection() as connection:
        await connection.set_autocommit(True)
    with contextlib.suppress(ZeroDivisionError):
        async with database.transaction() as tx:
            assert await tx.run("upkeep.take_turn", name="half", seconds=60) == 1
            raise ZeroDivisionError
    assert await database.run("upkeep.take_turn", name="half", seconds=60) == 1


async def test_connections_that_died_are_replaced(database: Database) -> None:
    for _ in range(3):
        async with database.pool.connection() as connection:
            await connection.execute(KILL_THE_OTHERS.encode())
        assert await asyncio.gather(*(database.one("accounts.any_keys") for _ in range(20))) == [{"found": False}] * 20


async def test_a_connection_that_dies_in_use_is_unavailable(database: Database) -> None:
    async def interrupted() -> None:
        async with database.transaction() as tx:
            async with database.pool.connection() as other:
                await other.execute(KILL_THE_OTHERS.encode())
            await tx.one("accounts.any_keys")

    with pytest.raises(Unavailable):
        await interrupted()
    assert await database.one("accounts.any_keys") == {"found": False}


async def test_our_own_mistakes_are_not_taken_for_an_outage(database: Database) -> None:
    with pytest.raises(psycopg.ProgrammingError):
        await database.one("accounts.by_hash")


async def test_notifications_and_what_may_have_been_missed(database_url: str) -> None:
    database, heard = Database(database_url), asyncio.Queue[str | None]()
    database.on("bell", heard.put_nowait)
    await database.open()
    try:
        assert await heard.get() is None
        async with database.pool.connection() as connection:
            await connection.execute("SELECT pg_notify('bell', 'one'), pg_notify('bell', 'two')")
        assert [await heard.get(), await heard.get()] == ["one", "two"]
        async with database.pool.connection() as connection:
            await connection.execute(KILL_THE_OTHERS.encode())
        assert await asyncio.wait_for(heard.get(), 60) is None
        async with database.pool.connection() as connection:
            await connection.execute("SELECT pg_notify('bell', 'three')")
        assert await heard.get() == "three"
    finally:
        await database.close()


async def test_when_all_lines_are_lost_nobody_waits_for_each_of_them(database_url: str) -> None:
    """As after a restart: the pool is full of dead connections, and whoever asks would meet one after the other."""
    database = Database(database_url)
    database.on("bell", lambda payload: None)
    await database.open()
    try:
        async with contextlib.AsyncExitStack() as held:
            for _ in range(12):
                await held.enter_async_context(database.pool.connection())
        async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as knife:
            await knife.execute(KILL_THE_OTHERS.encode())
        assert await database.one("drawers.newest_id") is not None
    finally:
        await database.close()


async def test_nothing_at_the_address() -> None:
    database = Database("postgresql://127.0.0.1:9/none")
    database.pool.timeout = 0.5
    with pytest.raises(SetupFailed, match="does not answer"):
        await database.open(seconds=0.5)


OFTEN = (
    "accounts.by_hash", "jobs.get", "jobs.by_prefix", "jobs.room", "jobs.load", "jobs.stranded", "assets.readable",
    "assets.request_of_name", "assets.inputs", "assets.deleting", "retentions.due", "erasure.lock_jobs", "erasure.lock_uploads",
)  # fmt: skip
SAMPLE = {
    b"ids": b"'{1,2}'",
    b"accounts": b"'{1,2}'",
    b"hashes": b"'{}'",
    b"name": b"'n'",
    b"file_prefix": b"'p'",
    b"receipts": b"NULL",
}


async def test_the_questions_of_every_request_find_an_index(database: Database) -> None:
    async with database.pool.connection() as connection:
        await connection.execute("SET enable_seqscan = off")
        for name in OFTEN:
            query = re.sub(rb"%\((\w+)\)s", lambda found: SAMPLE.get(found[1], b"1"), QUERIES[name])
            plan = await (await connection.execute(b"EXPLAIN " + query)).fetchall()
            assert not re.search(r"Seq Scan on (jobs|assets|keys|requests|outbox)", str(plan)), name


KEPT = """
WITH a AS (INSERT INTO accounts (name, webhook_secret) SELECT 'kept ' || n, '' FROM generate_series(1, 10) n RETURNING id),
     j AS (INSERT INTO jobs (id, account_id, state, file_prefix, rank, cost, steps, finished_at)
           SELECT nextval('request_ids'), id, 'succeeded', gen_random_uuid()::text, 0, 1, 1, now()
           FROM a, generate_series(1, 200) RETURNING id, account_id, file_prefix)
INSERT INTO assets (account_id, request_id, kind, state, name, blob_key, fence, size)
SELECT account_id, id, 'init_image', 'live', file_prefix, file_prefix, 0, 1 FROM j
"""


async def test_what_is_cached_is_found_without_reading_all_jobs(database: Database) -> None:
    """By a plan for the average account, as a prepared statement has: by far the most have less."""
    asked = re.sub(rb"%\((\w+)\)s", b"$1", QUERIES["erasure.cached"])
    async with database.pool.connection() as connection:
        for statement in (KEPT.encode(), b"ANALYZE jobs, assets"):
            await connection.execute(statement)
        plan = await (await connection.execute(b"EXPLAIN (GENERIC_PLAN) " + asked)).fetchall()
        await connection.rollback()
    assert "Seq Scan on jobs" not in str(plan)
