"""What callers ask for and this server does not have: counted here, written down now and then, so that an operator sees what an app misses.

Names come from our own lists of what the vendors document, never from a caller's text.
"""

from __future__ import annotations

import asyncio
from collections import Counter

from safelight.errors import Unavailable
from safelight.records import Wish
from safelight.storage.database import Database

WRITE_SECONDS = 10.0


class Wishes:
    """``run`` it beside the server. What was counted since the last writing is lost with the process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._fresh: Counter[str] = Counter()

    def note(self, what: str) -> None:
        self._fresh[what] += 1

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(WRITE_SECONDS)
            await self.write_down()

    async def write_down(self) -> None:
        """In one order, so that two processes do not wait for each other in a circle."""
        taken, self._fresh = self._fresh, Counter()
        if not taken:
            return
        try:
            whats = sorted(taken)
            await self._database.run("wishes.add", whats=whats, times=[taken[what] for what in whats])
        except Unavailable:
            self._fresh.update(taken)

    async def most(self, most: int = 10) -> list[Wish]:
        """The most wanted first."""
        return [Wish(**row) for row in await self._database.all("wishes.most", most=most)]
