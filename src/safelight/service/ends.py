"""How a job ends otherwise than well, and what goes with any end: in one transaction, by whoever holds the job."""

from __future__ import annotations

from safelight.service.outbox import announce_end
from safelight.service.vault import forget_sent
from safelight.storage.database import Database, Transaction
from safelight.storage.queue import Queue


async def fail(database: Database, queue: Queue, job_id: int, fence: int, sentence: str) -> bool:
    """Whether the job was still its holder's to fail."""
    async with database.transaction() as tx:
        return await give_up(tx, queue, job_id, fence, sentence)


async def give_up(tx: Transaction, queue: Queue, job_id: int, fence: int, sentence: str) -> bool:
    row = await tx.one("jobs.fail", id=job_id, fence=fence, error=sentence)
    if row is not None:
        if row["drop_inputs"]:
            await drop_inputs(tx, job_id)
        await announce_end(tx, queue, job_id, row["account_id"])
    return row is not None


async def drop_inputs(tx: Transaction, job_id: int) -> None:
    """Of a job whose account cleared its cache while it ran."""
    await tx.run("assets.drop_inputs", id=job_id)
    await forget_sent(tx, [job_id])
