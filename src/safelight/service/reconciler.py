"""Puts right what a crash left behind, from the rows alone: stranded jobs, half-made assets, unfinished erasures, what expired.

Every process may run one; they take turns.
"""

from __future__ import annotations

import asyncio
import logging

from safelight.errors import NotFound, Unavailable
from safelight.records import Account
from safelight.service.erasure import Erasure
from safelight.service.jobs import enqueue
from safelight.service.outbox import announce_end, entrust
from safelight.service.sealer import Sealer
from safelight.service.vault import forget_unused
from safelight.settings import Settings
from safelight.storage.database import Database
from safelight.storage.queue import Queue
from safelight.storage.wipe import wipe

log = logging.getLogger(__name__)

UPKEEP_SECONDS = 30.0
INTENT_SECONDS = 900.0  # how long bytes may take to follow the row that announced them
POISON = "The picture could not be made: its worker stopped each time."


class Reconciler:
    """``run`` it beside whatever else a process does."""

    def __init__(self, settings: Settings, database: Database, queue: Queue, erasure: Erasure, sealer: Sealer) -> None:
        self._settings, self._database, self._queue = settings, database, queue
        self._erasure, self._sealer = erasure, sealer

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                if await self._turn("rescue", self._settings.heartbeat_seconds / 2):
                    await self.rescue()
                if await self._turn("upkeep", UPKEEP_SECONDS):
                    await self.keep_up()
            except Unavailable:
                log.warning("the database does not answer the reconciler")
            await asyncio.sleep(self._settings.heartbeat_seconds)

    async def rescue(self) -> int:
        """Gives the jobs and webhooks of dead workers to the living; how many there were."""
        stalled = self._settings.stalled_seconds
        jobs = await self._database.all("jobs.stranded", stalled=stalled)
        for row in jobs:
            await self._rescue_job(row["id"], row["task_id"])
        webhooks = await self._database.all("outbox.stranded", stalled=stalled)
        for row in webhooks:
            await self._rescue_webhook(row["id"], row["task_id"])
        return len(jobs) + len(webhooks)

    async def keep_up(self, *, intent_seconds: float = INTENT_SECONDS) -> None:
        """All that may wait half a minute."""
        async with self._database.transaction() as tx:
            await forget_unused(tx, await tx.all("assets.abandon_old", life=intent_seconds))
        await self._expire()
        await self._erasure.remove_bytes()
        await self._sealer.run()
        await wipe(self._database)
        await self._database.run("erasure.verify")
        await self._database.run("tallies.fold")
        await self._database.run("upkeep.forget_tasks")
        await self._database.run("jobs.forget_nodes")
        await self._database.run("once.forget")

    async def _turn(self, name: str, seconds: float) -> bool:
        return await self._database.run("upkeep.take_turn", name=name, seconds=seconds) == 1

    async def _rescue_job(self, job_id: int, task: int | None) -> None:
        async with self._database.transaction() as tx:
            row = await tx.one("jobs.take_stranded", id=job_id, task=task)
            if row is None:
                return
            await tx.run("upkeep.end_tasks", ids=[row["task_id"]])
            await tx.run("assets.abandon_job", id=job_id, settle=self._settings.stalled_seconds)
            if row["attempt"] < self._settings.max_attempts:
                log.warning("job %s is taken from a worker that fell silent", job_id)
                await enqueue(tx, self._queue, job_id, row["task"], row["rank"])
                return
            log.error("job %s is given up: its worker stopped %s times", job_id, row["attempt"])
            failed = await tx.one("jobs.fail", id=job_id, fence=row["fence"], error=POISON)
            assert failed is not None
            await announce_end(tx, self._queue, job_id, failed["account_id"])

    async def _rescue_webhook(self, delivery_id: object, task: int | None) -> None:
        async with self._database.transaction() as tx:
            row = await tx.one("outbox.take", id=delivery_id, task=task)
            if row is not None:
                await tx.run("upkeep.end_tasks", ids=[row["task_id"]])
                await entrust(tx, self._queue, row["id"])

    async def _expire(self) -> None:
        for row in await self._database.all("assets.expired", days=self._settings.output_days):
            account = Account(row["account_id"], "")
            try:
                await self._erasure.delete(account, row["request_ids"], scope="expiry")
            except NotFound:
                log.exception("expired assets without their jobs: %s", row["request_ids"])
