"""What must hold after any fault, once things are quiet; the rules are those of ``safelight doctor --deep``."""

from __future__ import annotations

from safelight.storage.blobs import Blobs
from safelight.storage.database import Database
from safelight.storage.invariants import broken


async def check_invariants(database: Database, blobs: Blobs) -> None:
    """Raises AssertionError with everything that is wrong."""
    wrong = await broken(database, blobs)
    assert not wrong, wrong
