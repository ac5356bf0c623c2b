"""Gives the jobs and webhooks of dead workers to the living, and finds out whom a death is to be blamed on.

A worker holds many jobs when it crashes, and one of them may be why. So those that had begun are tried again in halves, each apart
from all others, until a culprit is alone; only one that takes its worker down when it is alone, and does so again, fails. A lease
that ran out blames nobody, since the host may be lost; but what was begun again and again and never ended is given up all the same.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from safelight.service.ends import give_up
from safelight.service.jobs import enqueue
from safelight.service.outbox import entrust
from safelight.settings import Settings
from safelight.storage.database import Database, Row, Transaction
from safelight.storage.queue import Queue

log = logging.getLogger(__name__)

POISON = "The picture could not be made: its worker stopped each time."
NEVER_ENDED = "The picture could not be made: it was begun many times and never ended."
MOST_CLAIMS = 20  # a job that takes whole hosts along would otherwise go round for ever
CRASH, BYSTANDER, SILENCE = "crash", "bystander", "silence"  # why a job is tried again, as /metrics tells


class Rescue:
    def __init__(self, settings: Settings, database: Database, queue: Queue) -> None:
        self._settings, self._database, self._queue = settings, database, queue

    async def stranded(self) -> int:
        """What nobody holds any more, by the rows alone; how much there was."""
        stalled = self._settings.stalled_seconds
        jobs = await self._database.all("jobs.stranded", stalled=stalled)
        for row in jobs:
            await self._rescue_job(row["id"], row["task_id"])
        webhooks = await self._database.all("outbox.stranded", stalled=stalled)
        for row in webhooks:
            await self._rescue_webhook(row["id"], row["task_id"])
        return len(jobs) + len(webhooks)

    async def bury(self, worker: str, *, crashed: bool) -> int:
        """Of a worker that was seen to end: its jobs are free at once. How many there were."""
        async with self._database.transaction() as tx:
            rows = await tx.all("jobs.of_worker", worker=worker)
            suspects = [row for row in rows if row["begun"]] if crashed else []
            await self._part(tx, suspects)
            for row in rows:
                suspected = row in suspects
                if suspected and len(suspects) == 1 and row["deaths"] + 1 >= self._settings.max_attempts:
                    await self._abandon(tx, row, POISON)
                else:
                    await self._again(tx, row, CRASH if suspected else BYSTANDER)
        await self._entrust_unclaimed()
        if rows:
            log.warning("worker %s ended with %s jobs, %s of them begun", worker, len(rows), len(suspects))
        return len(rows)

    async def _entrust_unclaimed(self) -> None:
        """A worker fetches many entries and claims their jobs one after the other. Another's loses nothing by a new entry."""
        async with self._database.transaction() as tx:
            for row in await tx.all("jobs.fetched"):
                await self._again(tx, row, BYSTANDER)

    async def _part(self, tx: Transaction, suspects: Sequence[Row]) -> None:
        """Into halves; one that was alone is one death nearer to being given up."""
        middle = (len(suspects) + 1) // 2
        for half in (suspects[:middle], suspects[middle:]):
            if half:
                await tx.run("jobs.suspect", ids=[row["id"] for row in half], alone=len(suspects) == 1)

    async def _abandon(self, tx: Transaction, row: Row, why: str) -> None:
        await tx.run("upkeep.end_tasks", ids=[row["task_id"]])
        await tx.run("assets.abandon_job", id=row["id"], settle=self._settings.stalled_seconds)
        await give_up(tx, self._queue, row["id"], row["fence"], why)
        log.error("job %s is given up: %s", row["id"], why)

    async def _again(self, tx: Transaction, row: Row, why: str) -> None:
        await tx.run("upkeep.end_tasks", ids=[row["task_id"]])
        await tx.run("assets.abandon_job", id=row["id"], settle=self._settings.stalled_seconds)
        await tx.run("jobs.count_retry", id=row["id"], why=why)
        await enqueue(tx, self._queue, row["id"], row["task"], row["rank"])

    async def _rescue_job(self, job_id: int, task: int | None) -> None:
        async with self._database.transaction() as tx:
            row = await tx.one("jobs.take_stranded", id=job_id, task=task)
            if row is None:
                return
            if row["attempt"] >= MOST_CLAIMS:
                await self._abandon(tx, row, NEVER_ENDED)
                return
            log.warning("job %s is taken from a worker that fell silent", job_id)
            await self._again(tx, row, SILENCE)

    async def _rescue_webhook(self, delivery_id: object, task: int | None) -> None:
        async with self._database.transaction() as tx:
            row = await tx.one("outbox.take", id=delivery_id, task=task)
            if row is not None:
                await tx.run("upkeep.end_tasks", ids=[row["task_id"]])
                await entrust(tx, self._queue, row["id"])
