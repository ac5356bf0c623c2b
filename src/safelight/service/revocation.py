"""What is under way by a key that is revoked stops: its jobs end as failed, and what was held for them is released.

The workers find out by their pulse. A job that was being accepted meanwhile is found at the next look.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from safelight.errors import Unavailable
from safelight.service.ends import fail
from safelight.settings import Settings
from safelight.storage.database import Database
from safelight.storage.queue import Queue

log = logging.getLogger(__name__)

CHANNEL = "safelight_revoked"
REVOKED = "The key that this was asked for with has been revoked."


class Revocation:
    """``run`` it beside whatever else a process does. Make it before the database is opened."""

    def __init__(self, settings: Settings, database: Database, queue: Queue) -> None:
        self._settings, self._database, self._queue = settings, database, queue
        self._heard = asyncio.Event()
        database.on(CHANNEL, lambda _: self._heard.set())

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._heard.clear()
            try:
                await self.stop_jobs()
            except Unavailable:
                log.warning("the database does not answer whoever looks for revoked keys")
            with suppress(TimeoutError):
                async with asyncio.timeout(self._settings.heartbeat_seconds):
                    await self._heard.wait()

    async def stop_jobs(self) -> int:
        """How many were stopped. One that a worker took or gave back meanwhile is looked at again."""
        stopped = 0
        while rows := await self._database.all("jobs.of_revoked_keys"):
            stopped += sum([await fail(self._database, self._queue, row["id"], row["fence"], REVOKED) for row in rows])
        return stopped
