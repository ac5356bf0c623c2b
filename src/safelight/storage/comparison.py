"""Whether store and rows agree: what rests without a row, and which rows have nothing to read. Both are walked in the order of the
keys, a page at a time, so that memory does not grow with what is kept. Knows nothing of what is done about it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from safelight.storage.blobs import PAGE, Blobs, Found
from safelight.storage.database import Database

HOUSE = "house"  # the kind of file by which a database is known in the store


@dataclass(frozen=True, slots=True)
class Differences:
    """Found in one stretch of the keys."""

    files: int = 0
    strays: list[Found] = field(default_factory=list)  # without a row that stands
    lost: list[str] = field(default_factory=list)  # live rows, and nothing to read
    resized: list[str] = field(default_factory=list)
    houses: list[str] = field(default_factory=list)


async def compare(database: Database, blobs: Blobs, settled: timedelta = timedelta(0)) -> AsyncIterator[Differences]:
    """What is younger than ``settled`` may be in the middle of something, and is passed over."""
    after = ""
    async for page in blobs.pages():
        if found := _by_key(each for each in page if each.key > after):
            upto = max(found)
            async for differences in _stretch(database, found, after, upto, settled):
                yield differences
            after = upto
    async for differences in _stretch(database, {}, after, None, settled):
        yield differences


async def _stretch(
    database: Database, found: dict[str, Found], after: str, upto: str | None, settled: timedelta
) -> AsyncIterator[Differences]:
    files, houses = len(found), [key for key in found if key.startswith(f"{HOUSE}/")]
    while rows := await database.all("stocktaking.rows", after=after, upto=upto, settled=settled, limit=PAGE):
        there = {row["blob_key"]: found.pop(row["blob_key"], None) for row in rows}
        sizes = {key: each.size if each else None for key, each in there.items()}
        owed = {row["blob_key"]: row["size"] for row in rows if row["owed"]}
        lost = [key for key in owed if sizes[key] is None]
        yield Differences(lost=lost, resized=[key for key in owed if sizes[key] not in (None, owed[key])])
        after = rows[-1]["blob_key"]
    latest = datetime.now(UTC) - settled
    strays = [each for key, each in found.items() if each.at <= latest and key not in houses]
    yield Differences(files - len(houses), strays, houses=houses)


def _by_key(page: Iterable[Found]) -> dict[str, Found]:
    """One for each key, with the size of the one that can be read and the age of the youngest."""
    found: dict[str, Found] = {}
    for each in page:
        known = found.get(each.key, each)
        found[each.key] = Found(each.key, each.size if known.size is None else known.size, max(each.at, known.at))
    return found
