"""Puts right what a crash left behind, from the rows alone: stranded jobs, half-made assets, unfinished erasures, what expired.

Every process may run one; they take turns.
"""

from __future__ import annotations

import asyncio
import logging

from safelight.errors import Damaged, Unavailable
from safelight.service.erasure import Erasure
from safelight.service.rescue import Rescue
from safelight.service.retention import Retention
from safelight.service.sealer import Sealer
from safelight.service.vault import forget_unused
from safelight.settings import Settings
from safelight.storage.database import Database
from safelight.storage.wipe import wipe

log = logging.getLogger(__name__)

UPKEEP_SECONDS = 30.0
INTENT_SECONDS = 900.0  # how long bytes may take to follow the row that announced them


class Reconciler:
    """``run`` it beside whatever else a process does."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        rescue: Rescue,
        erasure: Erasure,
        retention: Retention,
        sealer: Sealer,
    ) -> None:
        self._settings, self._database, self._rescue = settings, database, rescue
        self._erasure, self._retention, self._sealer = erasure, retention, sealer

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                if await self._turn("rescue", self._settings.heartbeat_seconds / 2):
                    await self._rescue.stranded()
                if await self._turn("upkeep", UPKEEP_SECONDS):
                    await self.keep_up()
            except Unavailable:
                log.warning("the database does not answer the reconciler")
            await asyncio.sleep(self._settings.heartbeat_seconds)

    async def keep_up(self, *, intent_seconds: float = INTENT_SECONDS) -> None:
        """All that may wait half a minute."""
        async with self._database.transaction() as tx:
            await forget_unused(tx, await tx.all("assets.abandon_old", life=intent_seconds))
        if self._erasure.reserve.is_out:
            self._erasure.reserve.hold()
        await self._retention.walk()
        await self._retention.expire()
        await self._hear_log()
        await self._erasure.go_on()
        await self._erasure.remove_bytes()
        await self._sealer.run()
        await wipe(self._database)
        await self._database.run("erasure.verify", receipts=None)
        await self._database.run("tallies.fold")
        await self._database.run("upkeep.forget_tasks")
        await self._database.run("jobs.forget_nodes")
        await self._database.run("once.forget")

    async def _hear_log(self) -> None:
        """A log that is damaged is for the operator to see, and keeps nothing else back."""
        try:
            await self._erasure.replay.run()
        except (Damaged, OSError):
            log.exception("the log of deletions cannot be read; `safelight doctor` says how to go on")

    async def _turn(self, name: str, seconds: float) -> bool:
        return await self._database.run("upkeep.take_turn", name=name, seconds=seconds) == 1
