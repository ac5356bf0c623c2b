"""What has been done hour by hour and day by day, what waits for whom, and what went wrong. Numbers and our own sentences only: no words
of any request are in them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from safelight.records import Account
from safelight.storage.database import Database

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

    def __init__(self, database: Database) -> None:
        self._database = database

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
