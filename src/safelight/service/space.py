"""How much an account keeps here, by the counts that every change writes, and whether more of it may come: as much as its operator
said of this account, else as the settings say of everybody.
"""

from __future__ import annotations

from safelight.errors import OverQuota, Unavailable
from safelight.records import Account
from safelight.settings import Settings
from safelight.storage.database import Database, Transaction
from safelight.storage.reserve import Reserve

RETRY_AFTER = (
    300  # seconds; space is freed by its owner and not by waiting, and clients that wait may as well wait long
)
DISK_FULL = "The disk of this server is full. Nothing new is taken in until there is room; deleting works."
FULL = (
    "Your storage is full: {kept:,} of {most:,} bytes are used. "
    "Delete pictures or uploads that you need no longer (/api/v3/delete_image, DELETE /v1/jobs/ID), or clear your cache."
)


async def bytes_kept(asked: Database | Transaction, account: Account) -> int:
    """Sealed, as they rest: pictures, uploads, what requests were made from, and models."""
    row = await asked.one("tallies.space", account=account.id)
    return int(row["kept"]) if row else 0


async def check_space(asked: Database | Transaction, settings: Settings, account: Account, coming: int = 0) -> None:
    """Raises OverQuota where nothing, or not so many bytes more, may come, and Unavailable where the disk is full."""
    if Reserve(settings.data_dir).is_out:
        raise Unavailable(DISK_FULL)
    row = await asked.one("tallies.space", account=account.id)
    most = (row and row["most"]) or settings.account_bytes
    if row is None or most is None:
        return
    kept = row["kept"]
    if kept >= most or kept + coming > most:
        raise OverQuota(FULL.format(kept=kept, most=most), RETRY_AFTER)
