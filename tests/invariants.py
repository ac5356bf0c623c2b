"""What must hold after any fault, once things are quiet: asked of the rows and of the store itself, not of our own code."""

from __future__ import annotations

from typing import Any

from safelight.storage.blobs import Blobs
from safelight.storage.database import Database

# Each finds offenders; none may be found. The names are those of the reliability notes.
OFFENDERS = {
    "I1 an accepted job is final, queued with an entry, or running with a lease": """
        SELECT j.id, j.state FROM jobs j LEFT JOIN procrastinate_jobs p ON p.id = j.task_id
        WHERE (j.state = 'queued' AND (p.status IS NULL OR p.status NOT IN ('todo', 'doing')))
           OR (j.state = 'running' AND j.lease_until < now())
           OR (j.state IN ('succeeded', 'failed', 'cancelled') AND j.finished_at IS NULL)""",
    "I1 an accepted job has its request until it is erased": """
        SELECT j.id FROM jobs j LEFT JOIN requests r ON r.job_id = j.id WHERE r.job_id IS NULL AND j.erased_at IS NULL""",
    "I2 a job that succeeded has its pictures, unless erased": """
        SELECT j.id FROM jobs j JOIN requests r ON r.job_id = j.id WHERE j.state = 'succeeded' AND (r.body ->> 'samples')::int <>
            (SELECT count(*) FROM assets a WHERE a.request_id = j.id AND a.kind = 'output' AND a.state = 'live')""",
    "I3 nothing of an erased job is left to read": """
        SELECT a.id, a.state FROM assets a JOIN jobs j ON j.id = a.request_id
        WHERE j.erased_at IS NOT NULL AND a.state IN ('pending', 'live')
        UNION ALL SELECT job_id, 'text' FROM requests r JOIN jobs j ON j.id = r.job_id WHERE j.erased_at IS NOT NULL""",
    "I4 every erasure has its receipt": "SELECT id FROM jobs WHERE erased_at IS NOT NULL AND receipt_id IS NULL",
    "I5 a job is charged once, when it succeeds": """
        SELECT coalesce(j.id, u.job_id) FROM usage u FULL JOIN (SELECT * FROM jobs WHERE state = 'succeeded') j ON j.id = u.job_id
        WHERE u.job_id IS NULL OR j.id IS NULL""",
    "I6 every end that is to be told has one entry in the outbox": """
        SELECT j.id FROM jobs j JOIN requests r ON r.job_id = j.id LEFT JOIN outbox o ON o.job_id = j.id
        WHERE j.state IN ('succeeded', 'failed') AND (coalesce(r.body ->> 'webhook', '') <> '') <> (o.id IS NOT NULL)""",
    "I7 only what was claimed has a fence, and no two claims the same": """
        SELECT id FROM jobs WHERE (attempt > 0 OR state IN ('running', 'succeeded')) AND fence = 0
        UNION ALL SELECT max(id) FROM jobs WHERE fence > 0 GROUP BY fence HAVING count(*) > 1""",
}


async def check_invariants(database: Database, blobs: Blobs) -> None:
    """Raises AssertionError with everything that is wrong."""
    wrong: dict[str, object] = {
        rule: found for rule, query in OFFENDERS.items() if (found := await _ask(database, query))
    }
    rows = await _ask(database, "SELECT blob_key, state, size FROM assets WHERE state <> 'gone'")
    keys = await blobs.keys()
    if unknown := keys - {row["blob_key"] for row in rows}:
        wrong["I2 bytes without a row"] = sorted(unknown)
    live = {row["blob_key"]: row["size"] for row in rows if row["state"] == "live"}
    if missing := live.keys() - keys:
        wrong["I2 a live row without bytes"] = sorted(missing)
    sizes = {key: len(await blobs.get(key)) for key in live.keys() & keys}
    if odd := {key for key, size in sizes.items() if size != live[key]}:
        wrong["I2 bytes of another size"] = sorted(odd)
    assert not wrong, wrong


async def _ask(database: Database, query: str) -> list[dict[str, Any]]:
    async with database.pool.connection() as connection:
        return await (await connection.execute(query.encode())).fetchall()
