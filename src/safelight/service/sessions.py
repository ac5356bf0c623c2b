"""Browsers that are signed in: each by a random token of its own, which opens what its key opens and nothing once that is revoked.

Knows nothing of cookies. Tickets sign in once; they live in this process alone, and not for long.
"""

from __future__ import annotations

import secrets
import time

from safelight.errors import Unauthorized
from safelight.records import Account
from safelight.service.accounts import hash_of
from safelight.storage.database import Database

SESSION_SECONDS = 7 * 24 * 3600.0
TICKET_SECONDS = 15 * 60.0


class Sessions:
    """Tokens are 256 random bits, so a plain SHA-256 is hash enough."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._tickets: dict[bytes, tuple[Account, float]] = {}

    async def begin(self, account: Account) -> str:
        """The token of a new session of the key that the caller came with."""
        token = secrets.token_urlsafe(32)
        await self._database.run("sessions.end_expired")
        await self._database.run("sessions.begin", hash=hash_of(token), key=account.key_id, lives=SESSION_SECONDS)
        return token

    async def find(self, token: str) -> Account:
        """Raises Unauthorized for what is unknown, ended, expired, or of a revoked key: alike."""
        row = token and await self._database.one("sessions.find", hash=hash_of(token))
        if not row:
            raise Unauthorized
        return Account(row["id"], row["name"], row["key_id"], row["operator"], row["stores"])

    async def end(self, token: str) -> None:
        await self._database.run("sessions.end", hash=hash_of(token))

    async def end_all(self, account: Account) -> None:
        """Every browser of the account, whatever key it came with."""
        await self._database.run("sessions.end_all", account=account.id)

    def ticket(self, account: Account) -> str:
        """Signs a browser in once."""
        ticket = secrets.token_urlsafe(32)
        self._tickets[hash_of(ticket)] = (account, time.monotonic() + TICKET_SECONDS)
        return ticket

    async def redeem(self, ticket: str) -> str:
        """The token of a new session. Raises Unauthorized for a ticket that was used, is too old, or never was."""
        account, until = self._tickets.pop(hash_of(ticket), (None, 0.0))
        if account is None or time.monotonic() > until:
            raise Unauthorized
        return await self.begin(account)
