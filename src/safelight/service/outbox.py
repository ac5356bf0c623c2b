"""Webhooks that are owed: a row for each, written in the transaction that ends the job. Holds references, never what is sent."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from safelight.service.ledger import settle
from safelight.storage.database import Database, Transaction
from safelight.storage.queue import WEBHOOKS, Queue


@dataclass(frozen=True, slots=True)
class Delivery:
    """One webhook that is owed. ``id`` is the same at every attempt; ``attempt`` counts those that were made."""

    id: uuid.UUID
    account_id: int
    job_id: int
    attempt: int
    webhook_secret: bytes


class Outbox:
    """What the sender of webhooks asks and tells."""

    def __init__(self, database: Database, queue: Queue) -> None:
        self._database, self._queue = database, queue

    async def open(self, delivery_id: str, entry: int) -> Delivery | None:
        """None where nothing is owed any more (delivered, given up, its job erased), or another entry took this one's place."""
        row = await self._database.one("outbox.open", id=uuid.UUID(delivery_id), task=entry)
        return Delivery(**row) if row else None

    async def delivered(self, delivery: Delivery, status: int) -> None:
        await self._database.run("outbox.end", id=delivery.id, state="delivered", status=status)

    async def dead(self, delivery: Delivery, status: int | None) -> None:
        """It will not be tried again."""
        await self._database.run("outbox.end", id=delivery.id, state="dead", status=status)

    async def defer(self, delivery: Delivery, seconds: float) -> None:
        """It was not tried, and has its turn after ``seconds``."""
        async with self._database.transaction() as tx:
            await entrust(tx, self._queue, delivery.id, seconds)

    async def postpone(self, delivery: Delivery, status: int | None, seconds: float) -> None:
        """It failed, and is tried again after ``seconds``."""
        async with self._database.transaction() as tx:
            if await tx.run("outbox.postpone", id=delivery.id, status=status):
                await entrust(tx, self._queue, delivery.id, seconds)


async def entrust(tx: Transaction, queue: Queue, delivery_id: uuid.UUID, seconds: float = 0) -> None:
    task = await queue.defer(tx, WEBHOOKS, delivery_id, seconds=seconds)
    await tx.run("outbox.set_task", id=delivery_id, task=task)


async def announce_end(tx: Transaction, queue: Queue, job_id: int, account_id: int) -> None:
    """Part of the transaction that ends a job: it is paid for or not, its webhook is owed from now on, and whoever waits is woken."""
    await settle(tx, [job_id])
    wanted = await tx.one("jobs.wants_webhook", id=job_id)
    if wanted and wanted["tells"]:
        row = await tx.one("outbox.add", account=account_id, job=job_id)
        assert row is not None
        await entrust(tx, queue, row["id"])
    await tx.run("jobs.announce", ids=[job_id])
