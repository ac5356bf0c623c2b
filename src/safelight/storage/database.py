"""PostgreSQL as the rest of the house sees it: named queries, transactions and notifications over one pool of connections.

Lost connections are replaced, and what cannot be answered is raised as Unavailable. Knows no table: the SQL is in ``queries/``.
"""

from __future__ import annotations

import asyncio
import logging
import random
import select
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import psycopg
from psycopg.rows import DictRow, dict_row
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool

from safelight.cancelling import cancel
from safelight.errors import SetupFailed, Unavailable

log = logging.getLogger(__name__)

Row = dict[str, Any]
Callback = Callable[[str | None], None]


def read_queries(folder: Path) -> Mapping[str, bytes]:
    """``-- name: find`` in jobs.sql begins the query ``jobs.find``, which ends where the next one begins."""
    found: dict[str, bytes] = {}
    for path in sorted(folder.glob("*.sql")):
        for part in path.read_text("utf-8").split("-- name: ")[1:]:
            name, _, text = part.partition("\n")
            key = f"{path.stem}.{name.strip()}"
            assert key not in found, f"two queries are named {key}"
            found[key] = text.strip().encode()
    return MappingProxyType(found)


PLANNED_EACH_TIME = "vault."  # on a table of very many parts: a plan for any value would have to name them all
QUERIES = read_queries(Path(__file__).parent / "queries")


class Transaction:
    """Named queries on one connection. Everything that it ran is kept, or nothing."""

    def __init__(self, connection: psycopg.AsyncConnection[DictRow]) -> None:
        self.connection = connection

    async def one(self, query: str, **values: object) -> Row | None:
        return await (await self._execute(query, values)).fetchone()

    async def all(self, query: str, **values: object) -> list[Row]:
        return await (await self._execute(query, values)).fetchall()

    async def run(self, query: str, **values: object) -> int:
        """How many rows it touched."""
        return (await self._execute(query, values)).rowcount

    async def _execute(self, query: str, values: Row) -> psycopg.AsyncCursor[DictRow]:
        prepare = False if query.startswith(PLANNED_EACH_TIME) else None
        return await self.connection.execute(QUERIES[query], _adapted(values), prepare=prepare)


class Database:
    """One PostgreSQL. Open it before use; ``one``, ``all`` and ``run`` are transactions of a single query."""

    def __init__(self, url: str, *, connections: int = 16) -> None:
        self._url = url
        self._listeners: dict[str, list[Callback]] = {}
        self._listening: asyncio.Task[None] | None = None
        self.pool: AsyncConnectionPool[psycopg.AsyncConnection[DictRow]] = AsyncConnectionPool(
            url,
            min_size=1,
            max_size=connections,
            timeout=10.0,
            open=False,
            check=_check,
            configure=_configure,
            kwargs={"row_factory": dict_row, "connect_timeout": 5, "application_name": "safelight"},
        )

    async def open(self, seconds: float = 15.0) -> None:
        """Raises SetupFailed where nothing answers at the address."""
        try:
            await self.pool.open(wait=True, timeout=seconds)
        except psycopg.OperationalError as error:
            await self.pool.close()
            raise SetupFailed(
                "The database does not answer. Check that it runs, and the address given with --database-url."
            ) from error
        self._listening = asyncio.create_task(self._listen(), name="database notifications")

    async def close(self) -> None:
        if self._listening is not None:
            await cancel(self._listening)
        await self.pool.close()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        with answered():
            async with self.pool.connection() as connection:
                if connection.autocommit:  # whoever checked it last was cancelled half way
                    await connection.set_autocommit(False)
                yield Transaction(connection)

    async def one(self, query: str, **values: object) -> Row | None:
        async with self.outside_transaction() as session:
            return await session.one(query, **values)

    async def all(self, query: str, **values: object) -> list[Row]:
        async with self.outside_transaction() as session:
            return await session.all(query, **values)

    async def run(self, query: str, **values: object) -> int:
        async with self.outside_transaction() as session:
            return await session.run(query, **values)

    @asynccontextmanager
    async def outside_transaction(self) -> AsyncIterator[Transaction]:
        """For a query by itself, since begin and commit cost a way there and back each; and for what PostgreSQL refuses in one."""
        with answered():
            async with self.pool.connection() as connection:
                await connection.set_autocommit(True)
                try:
                    yield Transaction(connection)
                finally:
                    if not connection.closed:
                        await connection.set_autocommit(False)

    def on(self, channel: str, callback: Callback) -> None:
        """Calls back with each payload sent to ``channel``, and with None whenever some may have been missed."""
        assert self._listening is None, "listeners come before the database is opened"
        self._listeners.setdefault(channel, []).append(callback)

    async def _listen(self) -> None:
        while self._listeners:
            try:
                await self._listen_once()
            except psycopg.Error as error:
                log.warning("lost the connection for notifications: %s", type(error).__name__)
                # The others are lost too, or will be in a moment; met one by one, each would cost its asker a longer wait.
                await self.pool.drain()
                await asyncio.sleep(0.2 + random.random())  # noqa: S311

    async def _listen_once(self) -> None:
        connection = await psycopg.AsyncConnection.connect(
            self._url, autocommit=True, connect_timeout=5, keepalives_idle=15, keepalives_interval=5, keepalives_count=3
        )
        async with connection:
            for channel in self._listeners:
                await connection.execute(psycopg.sql.SQL("LISTEN {}").format(psycopg.sql.Identifier(channel)))
            self._tell_missed()
            while True:
                async for notice in connection.notifies(timeout=15.0):
                    self._tell(notice.channel, notice.payload)
                await connection.execute("SELECT 1")

    def _tell(self, channel: str, payload: str | None) -> None:
        for callback in self._listeners.get(channel, ()):
            callback(payload)

    def _tell_missed(self) -> None:
        for channel in self._listeners:
            self._tell(channel, None)


def _adapted(values: Row) -> Row:
    """A dictionary is a JSON document."""
    return {name: Jsonb(value) if isinstance(value, dict) else value for name, value in values.items()}


async def _check(connection: psycopg.AsyncConnection[DictRow]) -> None:
    """A connection that lives has nothing to say while it is idle; only one that says something is asked, which costs a query."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    if poll.poll(0):
        await AsyncConnectionPool.check_connection(connection)


async def _configure(connection: psycopg.AsyncConnection[DictRow]) -> None:
    await connection.execute("SET idle_in_transaction_session_timeout = '15s'")
    # Plans are made for the average account. One that would be worth several processes costs all others, and the model, two of them.
    await connection.execute("SET max_parallel_workers_per_gather = 0")
    await connection.commit()


@contextmanager
def answered() -> Iterator[None]:
    """The edge of this room: a database that does not answer becomes Unavailable."""
    try:
        yield
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        raise Unavailable from error
