"""What an account has used and paid, as told to itself. Numbers only: what was asked for is nowhere in them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from safelight.records import Account
from safelight.storage.database import Database


@dataclass(frozen=True, slots=True)
class Totals:
    """Jobs that succeeded, what they left behind, how long they took, and what was paid for them, in millionths."""

    jobs: int
    pictures: int
    seconds: float
    paid: int


@dataclass(frozen=True, slots=True)
class Used:
    """One job that succeeded; ``paid`` in millionths."""

    job_id: int
    pictures: int
    seconds: float
    at: datetime
    paid: int


@dataclass(frozen=True, slots=True)
class Movement:
    """Into a wallet, or with a negative amount out of it; the transfer is named for its cause."""

    id: int
    transfer: str
    amount: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Turnover:
    """All that ever came in and went out, in millionths."""

    credited: int
    spent: int


class Usage:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def totals(self, account: Account, since: datetime | None = None) -> Totals:
        row = await self._database.one("usage.totals", account=account.id, since=since)
        assert row is not None
        return Totals(**row)

    async def turnover(self, account: Account) -> Turnover:
        row = await self._database.one("usage.spent", account=account.id)
        assert row is not None
        return Turnover(**row)

    async def history(self, account: Account, since: datetime | None, until: datetime | None, limit: int) -> list[Used]:
        """The newest first."""
        rows = await self._database.all("usage.history", account=account.id, since=since, until=until, limit=limit)
        return [Used(**row) for row in rows]

    async def movements(
        self, account: Account, sign: int | None, limit: int, offset: int
    ) -> tuple[list[Movement], int]:
        """The newest first, and how many there are in all. ``sign`` 1 asks for what came in, -1 for what went out."""
        rows = await self._database.all("usage.transactions", account=account.id, sign=sign, limit=limit, offset=offset)
        count = await self._database.one("usage.transactions_count", account=account.id, sign=sign)
        assert count is not None
        return [Movement(**row) for row in rows], int(count["found"])


def month_began() -> datetime:
    return datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
