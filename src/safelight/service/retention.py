"""How long what was asked for is kept. Of all limits (the request's own, its key's, its account's, the operator's) the shortest counts.

A request's end is written down when it ends, so that whoever looks for what is due reads nothing else. A limit that is set later
walks through what its account keeps, in slices, once.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from safelight.errors import Invalid, NotFound
from safelight.records import Account, Job
from safelight.service.erasure import Erasure
from safelight.settings import Settings
from safelight.storage.database import Database

log = logging.getLogger(__name__)

SLICE = 1000  # requests of one transaction
DUE = 500  # requests erased at a time
AT_ONCE_SECONDS = 2.0  # how long whoever sets a limit waits for it to be known everywhere
BUDGET_SECONDS = 10.0  # of one turn of the reconciler
DAY = 24 * 3600.0
LEAST, MOST = 60, 10 * 366 * 24 * 3600  # seconds

SetBy = Literal["owner", "operator"]


@dataclass(frozen=True, slots=True)
class Limit:
    """What was set, by whom, and for which key; None: for all of the account's."""

    seconds: float
    set_by: str
    key_id: int | None = None
    key_label: str = ""
    key_prefix: str = ""


class Retention:
    def __init__(self, settings: Settings, database: Database, erasure: Erasure) -> None:
        self._settings, self._database, self._erasure = settings, database, erasure

    async def limits(self, account: Account) -> list[Limit]:
        """Those of the account first."""
        return [
            Limit(row["seconds"], row["set_by"], row["key_id"] or None, row["label"] or "", row["prefix"] or "")
            for row in await self._database.all("retentions.all_of", account=account.id)
        ]

    async def limit(self, account: Account, seconds: float | None, *, key_id: int = 0, set_by: SetBy = "owner") -> None:
        """None lifts it: what has an end by then keeps that. What is kept already hears of it now, or within minutes if it is much."""
        if seconds is None:
            await self._database.run("retentions.lift", account=account.id, key=key_id, set_by=set_by)
            return
        if not LEAST <= seconds <= MOST:
            raise Invalid("seconds", f"must be between {LEAST} and {MOST}")
        await self._database.run("retentions.limit", account=account.id, key=key_id, set_by=set_by, seconds=seconds)
        await self.walk(account, AT_ONCE_SECONDS)

    async def walk(self, account: Account | None = None, seconds: float = BUDGET_SECONDS) -> None:
        """Tells what is kept of limits that were set since."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and await self._walk_on(account):
            pass

    async def expire(self) -> None:
        """Erases what is due, like any other deletion."""
        until = time.monotonic() + BUDGET_SECONDS
        while time.monotonic() < until and (
            rows := await self._database.all("retentions.due", days=self._settings.output_days, slice=DUE)
        ):
            if not all([await self._erase(Account(row["account_id"], ""), row["request_ids"]) for row in rows]):
                return

    async def _walk_on(self, account: Account | None) -> bool:
        """One slice of one limit; whether there was any."""
        async with self._database.transaction() as tx:
            row = await tx.one("retentions.to_walk", account=account.id if account else None)
            if row is None:
                return False
            whose = {"account": row["account_id"], "key": row["key_id"]}
            part = await tx.one("retentions.next_to_walk", account=row["account_id"], after=row["walked"], slice=SLICE)
            last = part and part["last"]
            if last is not None:
                for query in ("retentions.shorten_jobs", "retentions.shorten_uploads"):
                    await tx.run(query, **whose, after=row["walked"], last=last, seconds=row["seconds"])
            await tx.run("retentions.walked", **whose, set_by=row["set_by"], last=last)
        return True

    async def _erase(self, account: Account, ids: Sequence[int]) -> bool:
        try:
            await self._erasure.delete(account, ids, scope="expiry")
        except NotFound:
            log.exception("expired assets without their jobs: %s", ids)
            return False
        return True


def end_of(job: Job, settings: Settings) -> datetime | None:
    """When it will be erased by itself, as it stands now."""
    ends = [job.expires_at]
    if settings.output_days and job.finished_at:
        ends.append(job.finished_at + timedelta(days=settings.output_days))
    return min((end for end in ends if end is not None), default=None)
