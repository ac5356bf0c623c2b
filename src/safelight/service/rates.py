"""How often an account may ask for something within a minute. One upsert a call; only where billing is on."""

from __future__ import annotations

from dataclasses import dataclass

from safelight.errors import OverQuota
from safelight.records import Account
from safelight.settings import Settings
from safelight.storage.database import Database


@dataclass(frozen=True, slots=True)
class Taken:
    """What is allowed in a minute, what is left of it, and the Unix second in which the next one begins."""

    limit: int
    remaining: int
    resets_at: int


class Rates:
    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings, self._database = settings, database

    async def take(self, account: Account, what: str, limit: int) -> Taken | None:
        """None where nothing is limited. Raises OverQuota."""
        if not self._settings.billing:
            return None
        row = await self._database.one("rates.take", account=account.id, what=what)
        assert row is not None
        if row["calls"] > limit:
            raise OverQuota(f"Rate limit exceeded. Maximum {limit} requests a minute allowed.", row["seconds"], limit)
        return Taken(limit, limit - row["calls"], row["resets_at"])
