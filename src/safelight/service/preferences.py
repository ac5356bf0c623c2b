"""What an account wants where its requests say nothing: a few values that a dialect lets it set, kept under the dialect's name."""

from __future__ import annotations

from collections.abc import Mapping

from safelight.records import Account
from safelight.storage.database import Database


class Preferences:
    """Never anybody else's, and nothing that shows what was asked for."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, account: Account, dialect: str) -> Mapping[str, object]:
        row = await self._database.one("preferences.get", account=account.id, dialect=dialect)
        return row["body"] if row else {}

    async def update(self, account: Account, dialect: str, changes: Mapping[str, object]) -> None:
        """What is not named stays as it was."""
        await self._database.run("preferences.update", account=account.id, dialect=dialect, body=dict(changes))
