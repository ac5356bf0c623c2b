"""Large erasures: what a filter means is written down as ids, and erased slice by slice, each slice one transaction.

Whoever breaks off leaves the rest written down, and anybody goes on from there. A filter is kept nowhere: its words are its caller's.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from safelight.errors import NotFound
from safelight.records import Account
from safelight.service.burial import Burial, Doomed, lock
from safelight.service.jobs import LARGEST_ID
from safelight.service.vault import Vault
from safelight.storage.database import Database, Row

SLICE = 500  # requests
CHUNK = 1000  # rows read at a time

Kind = Literal["generation", "upload"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Of an account's requests those that all of this is true of; what is None is not asked about."""

    until: datetime | None = None  # made before
    kind: Kind | None = None
    track_id: str | None = None


@dataclass(frozen=True, slots=True)
class Weight:
    """What an erasure would erase, if it were made now."""

    requests: int
    assets: int
    bytes: int


class Batches:
    def __init__(self, database: Database, vault: Vault, burial: Burial) -> None:
        self._database, self._vault, self._burial = database, vault, burial

    async def weigh(self, account: Account, ids: Sequence[int]) -> Weight:
        row = await self._database.one("batches.weigh", account=account.id, ids=list(ids))
        assert row is not None
        return Weight(row["requests"], row["assets"], int(row["bytes"]))

    async def check(self, account: Account, ids: Sequence[int]) -> None:
        """Raises NotFound with the ids that are unknown or another's."""
        possible = [each for each in ids if 0 < each <= LARGEST_ID]
        rows = await self._database.all("batches.own", account=account.id, ids=possible)
        if unknown := set(ids) - {row["id"] for row in rows}:
            raise NotFound(ids=sorted(unknown))

    async def meant(self, account: Account, wanted: Wanted) -> list[int]:
        """The ids of what is there now. Texts rest sealed, so that a track_id is looked for in each."""
        found: list[int] = []
        if wanted.kind != "upload":
            found += [each async for each in self._generations(account, wanted)]
        if wanted.kind != "generation" and wanted.track_id is None:
            rows = await self._database.all("batches.uploads", account=account.id, until=wanted.until)
            found += [row["id"] for row in rows]
        return found

    async def accept(self, account: Account, receipt_id: uuid.UUID, scope: str, ids: Sequence[int]) -> None:
        """Written down: from its commit on all of these will be erased, whatever happens."""
        async with self._database.transaction() as tx:
            await tx.one(
                "erasure.add_receipt", id=receipt_id, account=account.id, key=account.key_id, scope=scope, at=None, ids=list(ids)
            )  # fmt: skip
            await tx.run("batches.write_down", receipt=receipt_id, ids=list(ids))

    async def unfinished(self) -> list[uuid.UUID]:
        return [row["id"] for row in await self._database.all("batches.unfinished")]

    async def go_on(self, receipt_id: uuid.UUID) -> int:
        """One slice: how many requests had their turn. Others may be at it too."""
        async with self._database.transaction() as tx:
            rows = await tx.all("batches.take", receipt=receipt_id, limit=SLICE)
            if rows:
                receipt = await tx.one("batches.receipt", id=receipt_id)
                assert receipt is not None
                account = Account(receipt["account_id"], "", receipt["key_id"])
                known = await lock(tx, account, [row["request_id"] for row in rows])
                fresh = {each: row["name"] for each, row in known.items() if row["receipt_id"] is None}
                await self._burial.bury_more(tx, account, receipt, Doomed(fresh))
        return len(rows)

    async def _generations(self, account: Account, wanted: Wanted) -> AsyncIterator[int]:
        after = 0
        while rows := await self._database.all(
            "batches.generations", account=account.id, after=after, until=wanted.until, limit=CHUNK
        ):
            if wanted.track_id is not None:
                await self._vault.look_up([row["id"] for row in rows])
            for row in rows:
                if wanted.track_id is None or await self._has_track(row, wanted.track_id):
                    yield row["id"]
            after = rows[-1]["id"]

    async def _has_track(self, row: Row, track_id: str) -> bool:
        try:
            text = await self._vault.text_of(row)
        except NotFound:
            return False  # erased meanwhile
        given = None if text is None else text.get("track_id")
        return given is not None and str(given) == track_id
