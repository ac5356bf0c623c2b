"""Webhooks that are owed: a row for each, written in the transaction that ends the job. Holds references, never what is sent."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from safelight.errors import NotFound
from safelight.records import Account
from safelight.service.jobs import LARGEST_ID
from safelight.service.ledger import settle
from safelight.storage.database import Database, Row, Transaction
from safelight.storage.queue import WEBHOOKS, Queue


@dataclass(frozen=True, slots=True)
class Delivery:
    """One webhook that is owed. ``id`` is the same at every attempt; ``attempt`` counts those that were made."""

    id: uuid.UUID
    account_id: int
    job_id: int
    attempt: int
    webhook_secret: bytes


class PostedState(StrEnum):
    """Where a webhook stands; ``dead`` is what was given up."""

    waiting = "waiting"
    delivered = "delivered"
    dead = "dead"


@dataclass(frozen=True, slots=True)
class Posted:
    """A webhook as its owner may see it, and how far it got; ``status`` is its receiver's last answer."""

    id: uuid.UUID
    account: str
    job_id: int
    state: PostedState
    attempt: int
    status: int | None
    created_at: datetime
    ended_at: datetime | None


class Outbox:
    """What the sender of webhooks asks and tells, and what their owner sees of them: nothing of jobs that were erased."""

    def __init__(self, database: Database, queue: Queue) -> None:
        self._database, self._queue = database, queue

    async def posted(
        self, account: Account | None, state: PostedState | None = None, *, before: int | None = None, limit: int = 20
    ) -> Sequence[Posted]:
        """Those of an account, or of everybody where the caller has found that an operator asks; of the newest job first, from
        the one ``before`` on."""
        rows = await self._database.all(
            "outbox.posted",
            id=None,
            account=account and account.id,
            state=state,
            before=before or LARGEST_ID,
            limit=limit,
        )
        return [_posted(row) for row in rows]

    async def replay(self, account: Account | None, delivery_id: str) -> Posted:
        """It is owed anew, from now on and with all its attempts, whatever became of it. Raises NotFound."""
        which = _uuid(delivery_id)
        owner = account and account.id
        async with self._database.transaction() as tx:
            if which is None or not await tx.run("outbox.replay", id=which, account=owner):
                raise NotFound
            await entrust(tx, self._queue, which)
            row = await tx.one("outbox.posted", id=which, account=owner, state=None, before=LARGEST_ID, limit=1)
        assert row is not None
        return _posted(row)

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


def _posted(row: Row) -> Posted:
    return Posted(**{**row, "state": PostedState(row["state"])})


def _uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None
