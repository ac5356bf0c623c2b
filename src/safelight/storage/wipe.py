"""Gets erased keys, and text from before there were any, out of the database's files: a deleted row's bytes stay where they were.

So the parts that an erasure touched are written anew, or dropped, and the write-ahead log that told of the old is let go.
"""

from __future__ import annotations

import logging

from psycopg import sql
from psycopg.errors import InsufficientPrivilege, LockNotAvailable, UndefinedTable

from safelight.storage import drawers
from safelight.storage.database import Database, Row, Transaction

log = logging.getLogger(__name__)


async def wipe(database: Database) -> int:
    """How many parts were written anew. One that somebody still reads, or sees an old state of, has to wait."""
    parts = await database.all("upkeep.wipes")
    if not parts:
        return 0
    async with database.outside_transaction() as session:
        await session.run("upkeep.be_modest")
        done = [row for row in parts if await _write_anew(session, row)]
        await _let_go_of_log(session)
        await session.run("upkeep.be_patient")
    for row in done:
        await database.run("upkeep.wiped", part=row["part"], last=row["last"])
    return len(done)


async def _write_anew(session: Transaction, row: Row) -> bool:
    try:
        if not await drawers.drop_if_done(session, row["part"]):
            await session.connection.execute(sql.SQL("VACUUM (FULL) {}").format(sql.Identifier(row["part"])))
    except LockNotAvailable:
        log.info("%s is in use; what was erased is wiped from it later", row["part"])
        return False
    except UndefinedTable:
        log.info("%s was dropped already", row["part"])
    return True


async def _let_go_of_log(session: Transaction) -> None:
    """In a database that is not ours alone the right to this may be missing: then its own rotation does it, later."""
    try:
        await session.run("upkeep.switch_log")
        await session.run("upkeep.checkpoint")
    except InsufficientPrivilege:
        log.info("the user may not checkpoint this database; its log keeps erased keys until it is rotated")
