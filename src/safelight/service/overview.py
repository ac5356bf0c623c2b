"""The state of the house, what has been done hour by hour and day by day, what waits for whom, and what went wrong. Numbers and our own
sentences only: no words of any request are in them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from safelight.records import Account, HeldCheckpoint, JobState, Statistics, WorkerPulse
from safelight.settings import Settings
from safelight.storage.database import Database, Row

FAILURES = 20
Span = Literal["hour", "day"]


@dataclass(frozen=True, slots=True)
class Done:
    """Within one hour or day: jobs that succeeded, the pictures they left, and their seconds on the engine."""

    at: datetime
    jobs: int
    pictures: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Waiting:
    """What an account has under way."""

    account: str
    waiting: int
    running: int
    since: datetime


@dataclass(frozen=True, slots=True)
class Failure:
    """A job that failed, by the id that its owner knows too."""

    id: int
    account: str
    task: str
    error: str
    at: datetime


class Overview:
    """Of one account where one is named, of everybody where the caller has found that an operator asks."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings, self._database = settings, database

    async def statistics(self) -> Statistics:
        async with self._database.transaction() as tx:
            now = await tx.one("jobs.statistics")
            counts = {row["what"]: row["amount"] for row in await tx.all("tallies.of_all")}
            workers = tuple(map(_worker, await tx.all("jobs.nodes", stalled=self._settings.stalled_seconds)))
        assert now is not None
        ended = {state.value: counts.get(state.value, 0) for state in JobState if state.final}
        return Statistics(
            outcomes=ended, workers=workers, blob_bytes=counts.get("bytes", 0), retries=_retries(counts), **now
        )

    async def done(self, span: Span, count: int, account: Account | None = None) -> list[Done]:
        """The last so many hours or days, the oldest first, those without work too."""
        owner = account.id if account else None
        return [Done(**row) for row in await self._database.all("overview.done", span=span, count=count, account=owner)]

    async def waiting(self) -> list[Waiting]:
        """Who has most under way comes first."""
        return [Waiting(**row) for row in await self._database.all("overview.waiting")]

    async def failures(self) -> list[Failure]:
        """The newest first."""
        return [Failure(**row) for row in await self._database.all("overview.failures", limit=FAILURES)]


def _worker(row: Row) -> WorkerPulse:
    held = tuple(HeldCheckpoint(name, **told) for name, told in sorted(row["checkpoints"].items()))
    return WorkerPulse(**row | {"checkpoints": held})


def _retries(counts: Mapping[str, int]) -> dict[str, int]:
    return {what.removeprefix("retry "): amount for what, amount in counts.items() if what.startswith("retry ")}
