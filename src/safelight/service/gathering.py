"""Deletions that are asked for at the same time are made in one transaction, each with its own receipt: all share its questions, its
line in the log of deletions and its commit. What one of them names wrongly is told to that one alone.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from safelight.errors import NotFound
from safelight.records import Account
from safelight.service.burial import Burial, Doomed, Grave, Which, lock_all
from safelight.service.jobs import LARGEST_ID
from safelight.service.media import Medium, format_named
from safelight.service.together import Together
from safelight.storage.database import Database, Row


@dataclass(frozen=True, slots=True)
class Asked:
    """All of these or none, under a receipt that is new."""

    account: Account
    ids: tuple[int, ...]
    scope: str
    medium: Medium | None
    receipt: uuid.UUID

    @property
    def possible(self) -> list[Which]:
        return [(self.account.id, each) for each in self.ids if 0 < each <= LARGEST_ID]


class Gathering:
    def __init__(self, database: Database, burial: Burial) -> None:
        self._database, self._burial = database, burial
        self._buried = Together(self._bury_all)

    async def bury(self, asked: Asked) -> uuid.UUID:
        """The receipt, which is an earlier one where all was erased before. Raises NotFound. Asked again after a commit whose
        outcome is unknown, it finds its own."""
        found = await self._buried.find(asked)
        if not isinstance(found, uuid.UUID):
            raise found or NotFound
        return found

    async def _bury_all(self, askings: Sequence[Asked]) -> dict[Asked, uuid.UUID | NotFound]:
        async with self._database.transaction() as tx:
            rows = await lock_all(tx, [which for asked in askings for which in asked.possible])
            answers, graves = dict[Asked, uuid.UUID | NotFound](), list[Grave]()
            for asked in askings:
                known = _known(asked, rows)
                if unknown := [each for each in asked.ids if each not in known]:
                    answers[asked] = NotFound(ids=unknown)
                    continue
                fresh = {each: row["name"] for each, row in known.items() if row["receipt_id"] is None}
                if fresh:
                    graves.append(Grave(asked.account, asked.receipt, asked.scope, Doomed(fresh)))
                answers[asked] = _receipt_of(asked, known)
            if graves:
                await self._burial.bury(tx, *graves)
        return answers


def _known(asked: Asked, rows: Mapping[Which, Row]) -> dict[int, Row]:
    """The name of an upload tells its medium; what is made here is pictures."""
    found = {which[1]: rows[which] for which in asked.possible if which in rows}
    return {each: row for each, row in found.items() if asked.medium in (None, format_named(row["name"]).medium)}


def _receipt_of(asked: Asked, known: Mapping[int, Row]) -> uuid.UUID:
    """Where somebody else in the same transaction asks for the same, he finds this receipt in the row."""
    for row in known.values():
        row["receipt_id"] = row["receipt_id"] or asked.receipt
    receipts = [known[each]["receipt_id"] for each in asked.ids]
    return asked.receipt if asked.receipt in receipts else receipts[0]
