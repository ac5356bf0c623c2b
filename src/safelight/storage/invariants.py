"""What must hold once things are quiet: asked of the rows and of the store itself, not of the code that keeps them so.

The tests ask after every fault, and ``safelight doctor --deep`` of a real house. It reads everything that is kept.
"""

from __future__ import annotations

from safelight.storage.blobs import Blobs
from safelight.storage.comparison import compare
from safelight.storage.database import Database

# The names are those of the queries; each finds offenders.
RULES = {
    "invariants.ends": "I1 an accepted job is final, queued with an entry, or running with a lease",
    "invariants.requests": "I1 an accepted job has its request until it is erased",
    "invariants.pictures": "I2 a job that succeeded has its pictures, unless erased",
    "invariants.erased": "I3 nothing of an erased job is left to read",
    "invariants.keys": "I3 a key stands as long as what it opens",
    "invariants.receipts": "I4 every erasure has its receipt",
    "invariants.charges": "I5 a job is charged once, when it succeeds",
    "invariants.books": "I5 the books add up, and prices are held by jobs that have not ended",
    "invariants.webhooks": "I6 every end that is to be told has one entry in the outbox",
    "invariants.fences": "I7 only what was claimed has a fence, and no two claims the same",
    "invariants.counts": "I9 what was counted is what a recount finds",
}


async def broken(database: Database, blobs: Blobs) -> dict[str, list[object]]:
    """Every rule that does not hold, with its offenders."""
    found: dict[str, list[object]] = {
        rule: list(rows) for query, rule in RULES.items() if (rows := await database.all(query))
    }
    kept: dict[str, list[object]] = {
        "I2 bytes without a row": [],
        "I2 a live row without bytes": [],
        "I2 bytes of another size": [],
    }
    async for differences in compare(database, blobs):
        strays = [each.key for each in differences.strays]
        for offenders, more in zip(kept.values(), (strays, differences.lost, differences.resized), strict=True):
            offenders.extend(more)
    return found | {rule: keys for rule, keys in kept.items() if keys}
