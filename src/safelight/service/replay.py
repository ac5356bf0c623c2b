"""Erases again what the log of deletions tells and the database does not know: after a copy of an older day was restored, or where a
deletion was broken off between the two. Before anything is served, and now and then.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import uuid
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from safelight.errors import Damaged, SetupFailed
from safelight.service.burial import Burial
from safelight.storage.database import Database
from safelight.storage.deletion_log import Deletion, DeletionLog, Place

log = logging.getLogger(__name__)

LINES = 200  # of the log at a time
GO_ON = (
    "Put a copy of it back. Where there is none, move the file away: a new log is begun, and a copy of the database from before now, "
    "should it ever be restored, brings back what was deleted since."
)


@dataclass(frozen=True, slots=True)
class KnownLog:
    """A log that the database has read, and how far."""

    id: uuid.UUID
    host: str
    path: str
    place: Place

    def is_at(self, path: Path) -> bool:
        return (self.host, self.path) == (socket.gethostname(), str(path.absolute()))


async def known_logs(database: Database) -> list[KnownLog]:
    return [
        KnownLog(row["id"], row["host"], row["path"], Place(row["bytes"], row["lines"], row["hash"]))
        for row in await database.all("erasure.logs")
    ]


class Replay:
    """``open`` it before anything is served."""

    def __init__(self, database: Database, deletions: DeletionLog, burial: Burial) -> None:
        self._database, self._deletions, self._burial = database, deletions, burial
        self._log: uuid.UUID | None = None

    async def open(self) -> None:
        """Raises SetupFailed where the log is not to be trusted, and says how to go on."""
        host, path = socket.gethostname(), str(self._deletions.path.absolute())
        try:
            began = await asyncio.to_thread(self._deletions.open)
            known = await known_logs(self._database)
            await self._database.one(
                "erasure.know_log", id=began.log, host=host, path=path, begun=began.begun, hash=Place().hash
            )
            self._log = began.log
            for lost in (each for each in known if each.is_at(self._deletions.path) and each.id != began.log):
                log.warning("an earlier log of deletions at %s is gone, with %d lines", path, lost.place.lines)
            again = await self.run()
        except Damaged as damaged:
            raise SetupFailed(f"{damaged.message} {GO_ON}") from damaged
        except OSError as error:
            raise SetupFailed(f"The log of deletions at {path} cannot be read: {error.strerror}.") from error
        if again:
            log.warning("erased again what the log of deletions tells: %d deletions", again)

    async def run(self) -> int:
        """How many deletions had to be made again. Raises Damaged."""
        place = await self._place()
        lines = self._deletions.read(place)
        again = 0
        while chunk := await asyncio.to_thread(lambda: list(islice(lines, LINES))):
            told = [deletion for _, deletions in chunk for deletion in deletions]
            again += await self._make_true(told)
            place = chunk[-1][0]
            await self._database.run(
                "erasure.read_log", id=self._log, bytes=place.bytes, lines=place.lines, hash=place.hash
            )
        return again

    async def _place(self) -> Place:
        known = {each.id: each.place for each in await known_logs(self._database)}
        return known.get(self._log, Place()) if self._log else Place()

    async def _make_true(self, told: list[Deletion]) -> int:
        ids = {int(each) for deletion in told for each in (*deletion.whole, *deletion.sent)}
        left = {row["id"] for row in await self._database.all("erasure.standing", ids=list(ids))}
        again = 0
        for deletion in told:
            if deletion.closed or not left.isdisjoint(map(int, (*deletion.whole, *deletion.sent))):
                async with self._database.transaction() as tx:
                    again += await self._burial.bury_again(tx, deletion)
        return again
