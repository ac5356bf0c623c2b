"""The parts of the table of request keys, one for each range of ids: made when the first key comes, dropped when the last has gone.

A part is small, so that erased keys can be written out of it in milliseconds. Knows nothing of what a key opens.
"""

from __future__ import annotations

from psycopg import sql
from psycopg.errors import LockNotAvailable

from safelight.storage.database import Database, Transaction

IDS = 4096  # in one part
PREFIX = "request_keys_"


def drawer_of(request_id: int) -> int:
    return request_id // IDS


async def make(database: Database, drawer: int) -> None:
    """Where it is not there yet. Attaching, unlike creating in place, lets everybody go on reading and writing the others."""
    name = sql.Identifier(f"{PREFIX}{drawer}")
    async with database.transaction() as tx:
        await tx.run("vault.lock_masters")
        if await tx.one("drawers.attached", name=f"{PREFIX}{drawer}") is not None:
            return
        await tx.connection.execute(
            sql.SQL("CREATE TABLE IF NOT EXISTS {} (LIKE request_keys INCLUDING INDEXES INCLUDING STORAGE)").format(
                name
            )
        )
        await tx.connection.execute(
            sql.SQL("ALTER TABLE request_keys ATTACH PARTITION {} FOR VALUES FROM ({}) TO ({})").format(
                name, sql.Literal(drawer * IDS), sql.Literal((drawer + 1) * IDS)
            )
        )


async def drop_if_done(session: Transaction, part: str) -> bool:
    """Whether ``part`` was one that gets no more keys and has none left; then it is gone whole, file and all."""
    newest = await session.one("drawers.newest_id")
    assert newest is not None
    if not part.startswith(PREFIX) or int(part.removeprefix(PREFIX)) > drawer_of(newest["id"]) - 2:
        return False
    name = sql.Identifier(part)
    found = await session.connection.execute(sql.SQL("SELECT EXISTS (SELECT FROM {}) AS any").format(name))
    kept = await found.fetchone()
    if kept is None or kept["any"]:
        return False
    try:
        await session.connection.execute(sql.SQL("DROP TABLE {}").format(name))
    except LockNotAvailable:
        return False
    return True
