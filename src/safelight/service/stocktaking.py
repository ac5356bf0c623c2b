"""Once a day what rests in the store is compared with the rows. Of what the rows say is gone the rest is removed, should there be any.
A file that no row was ever known of, such as one of a database that was put back, is reported, and removed once it was for long enough.

Where another database keeps its files in the same place, which its mark there tells, only what is known is removed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from safelight.errors import Unavailable
from safelight.settings import Settings
from safelight.storage.blobs import Blobs, Found, new_key
from safelight.storage.comparison import HOUSE, compare
from safelight.storage.database import Database, Row

log = logging.getLogger(__name__)

ASK_SECONDS, TURN_SECONDS = 600.0, 86400.0
SETTLED = timedelta(days=1)  # what is younger may be in the middle of something


@dataclass(frozen=True, slots=True)
class Stock:
    """What the last stocktaking found."""

    at: datetime
    files: int
    strays: int  # no row was ever known of them, and they are still there
    lost: int  # rows without a file
    removed: int  # by all stocktakings
    others: tuple[str, ...]  # marks of other databases


class Stocktaking:
    """``run`` it in one process or in several: they take turns."""

    def __init__(self, settings: Settings, database: Database, blobs: Blobs) -> None:
        self._settings, self._database, self._blobs = settings, database, blobs

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                if await self._database.run("upkeep.take_turn", name="stocktaking", seconds=TURN_SECONDS):
                    await self.take()
            except Unavailable:
                log.warning("database or store do not answer the stocktaking; the next is in a day")
            await asyncio.sleep(ASK_SECONDS)

    async def take(self, settled: timedelta = SETTLED) -> None:
        begun = await self._begin()
        files, lost, removed, others = 0, 0, 0, list[str]()
        async for found in compare(self._database, self._blobs, settled):
            files, lost = files + found.files, lost + len(found.lost)
            others += [mark for mark in found.houses if mark != begun["mark"]]
            removed += await self._sort(begun, found.strays)
        if self._settings.stray_days and not others:
            removed += await self._remove_due(begun)
        await self._database.run("stocktaking.end", files=files, lost=lost, removed=removed, others=others)
        if (stock := await last(self._database)) and (stock.strays or lost or removed):
            log.warning(
                "of %d files %d have no row, %d rows have no file, %d were removed", files, stock.strays, lost, removed
            )

    async def _begin(self) -> Row:
        begun = await self._database.one("stocktaking.begin", mark=new_key(HOUSE, ".txt"))
        assert begun is not None
        if not await self._blobs.exists(begun["mark"]):
            await self._blobs.put(begun["mark"], b"The files of one Safelight database rest here.\n")
        return begun

    async def _sort(self, begun: Row, strays: Sequence[Found]) -> int:
        """How many of them rows say are gone, and now are."""
        keys = [each.key for each in strays]
        rows = await self._database.all("stocktaking.known", blob_keys=keys) if keys else []
        known = {row["blob_key"]: row["state"] for row in rows}
        if unknown := [key for key in keys if key not in known]:
            await self._database.run("stocktaking.report", blob_keys=unknown, number=begun["number"])
        return await self._remove([key for key, state in known.items() if state == "gone"])

    async def _remove_due(self, begun: Row) -> int:
        removed = 0
        for row in await self._database.all("stocktaking.due", number=begun["number"], days=self._settings.stray_days):
            removed += await self._remove([row["blob_key"]])
            await self._database.run("stocktaking.forget", blob_key=row["blob_key"])
        return removed

    async def _remove(self, keys: Sequence[str]) -> int:
        for key in keys:
            await self._blobs.delete(key)
        return len(keys)


async def last(database: Database) -> Stock | None:
    row = await database.one("stocktaking.last")
    return Stock(**row | {"others": tuple(row["others"])}) if row else None
