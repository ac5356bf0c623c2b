"""What an operator does to the whole server at once. Who may is decided where the caller is known."""

from __future__ import annotations

from safelight.service.ends import fail
from safelight.storage.database import Database
from safelight.storage.queue import Queue

RESTART = "safelight_restart"  # the notification at which every worker ends, to be started anew
CLEARED = "The operator of this server cleared its queue."


class Steering:
    """For operators' keys."""

    def __init__(self, database: Database, queue: Queue) -> None:
        self._database, self._queue = database, queue

    async def clear_queue(self) -> int:
        """Ends whatever waits, of every account, as failed; how many there were. What runs goes on."""
        waiting = await self._database.all("jobs.waiting")
        return sum([await fail(self._database, self._queue, row["id"], row["fence"], CLEARED) for row in waiting])

    async def restart_workers(self) -> None:
        """Each drains and ends; its supervisor, or whatever keeps it alive, starts another."""
        await self._database.run("jobs.restart_workers", channel=RESTART)
