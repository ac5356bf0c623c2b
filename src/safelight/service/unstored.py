"""Requests that are answered and not stored. While one is made it is sealed under a key that is in memory alone; with the answer the key
goes, and then all that was sealed under it. Knows nothing of how answers look.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from safelight.errors import NotFound, Unavailable
from safelight.records import Account, Job
from safelight.service.erasure import Erasure
from safelight.service.lending import Lending
from safelight.service.vault import Vault
from safelight.storage.database import Database

log = logging.getLogger(__name__)

SCOPE = "unstored"


@dataclass
class Gone:
    """What the erasure came to, once it was."""

    receipt: str | None = None


class Unstored:
    """Make it before the database is opened."""

    def __init__(self, database: Database, vault: Vault, erasure: Erasure) -> None:
        self._vault, self._erasure = vault, erasure
        self._lending = Lending(database, vault)

    @asynccontextmanager
    async def answering(self, account: Account, job: Job) -> AsyncIterator[Gone]:
        """Whatever happens inside, afterwards nothing of the job is left. One that is stored is left alone."""
        gone = Gone()
        try:
            yield gone
        finally:
            if job.request and not job.request.store:
                self._vault.let_go(job.id)
                gone.receipt = await self._erase(account, job.id)

    async def _erase(self, account: Account, job_id: int) -> str | None:
        """What cannot be erased now is noise already, and has its end written down."""
        try:
            return (await self._erasure.delete(account, [job_id], scope=SCOPE)).id
        except (NotFound, Unavailable):
            log.warning("job %s is left to its end", job_id)
            return None
