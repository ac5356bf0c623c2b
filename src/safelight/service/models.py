"""Models that accounts have installed: asked for, listed, deleted. A model is what its job left behind, so it is erased as jobs are.

How its file is fetched and judged is the maker's to know, how it is loaded the stock's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from safelight.errors import Invalid, NotFound, OverQuota
from safelight.records import Account, InstallRequest, Job, JobState, Receipt
from safelight.service.erasure import Erasure
from safelight.service.jobs import Jobs
from safelight.settings import Settings
from safelight.storage.database import Database, Row, Transaction

MOST_AT_ONCE = 4  # of an account: each may hold as much of a worker's disk as a model may have, and a place for as long as it takes
RETRY_AFTER = 30  # seconds
OF_OPERATORS = "model_visibility public needs an operator's key; the model is visible to this account alone."


@dataclass(frozen=True, slots=True)
class Installed:
    """A model that a job installed, or is to. ``state`` is the job's, ``error`` what it said at its end."""

    job_id: int
    account_id: int
    name: str
    kind: str
    everybody: bool
    state: JobState
    error: str | None
    created_at: datetime


class Models:
    """Names are an account's own; among all accounts the same name may stand for different models."""

    def __init__(self, settings: Settings, database: Database, jobs: Jobs, erasure: Erasure) -> None:
        self._settings, self._database, self._jobs, self._erasure = settings, database, jobs, erasure

    async def install(self, account: Account, request: InstallRequest) -> Job:
        """Accepted, not yet here. Raises Invalid for a name that is taken; one whose installation failed is free again."""
        own = self._settings
        taken = own.models, own.loras, own.controlnets, own.embeddings, own.vaes
        added = await self._database.one("additions.named", name=request.name)
        if added or any(request.name in names for names in taken):
            raise Invalid("model_id", f"{request.name} is a model of this server's operator")
        if request.everybody and not account.operator:
            request = replace(request, everybody=False, notes=(*request.notes, OF_OPERATORS))
        earlier = await self._database.one("models.named", account=account.id, name=request.name)
        if earlier and earlier["state"] == JobState.failed:
            await self._erasure.delete(account, [earlier["job_id"]])
        return await self._jobs.submit(account, request, beside=partial(self._begin, account, request))

    async def of(self, account: Account) -> list[Installed]:
        """All that the account may see, its own first."""
        return [installed_of(row) for row in await self._database.all("models.visible", account=account.id)]

    async def delete(self, account: Account, name: str) -> Receipt:
        """One's own, also while it is being installed. Raises NotFound."""
        row = await self._database.one("models.named", account=account.id, name=name)
        if row is None:
            raise NotFound(f"Model not found: {name}")
        return await self._erasure.delete(account, [row["job_id"]])

    async def count(self, account: Account) -> int:
        """How many of its own are installed."""
        row = await self._database.one("models.count", account=account.id)
        return int(row["places"]) if row else 0

    async def _begin(self, account: Account, request: InstallRequest, tx: Transaction, job_id: int) -> None:
        await tx.run("models.lock", account=account.id)
        if await tx.one("models.named", account=account.id, name=request.name):
            raise Invalid("model_id", f"{request.name} is a model of yours already; delete_model removes it")
        begun = await tx.one("models.begun", account=account.id)
        if begun and begun["models"] >= MOST_AT_ONCE:
            raise OverQuota(f"Rate limit exceeded. {MOST_AT_ONCE} models of yours are being installed.", RETRY_AFTER)
        await tx.run(
            "models.begin", id=job_id, account=account.id, name=request.name, kind=request.kind, everybody=request.everybody
        )  # fmt: skip


def installed_of(row: Row) -> Installed:
    return Installed(
        row["job_id"], row["account_id"], row["name"], row["kind"], row["everybody"], JobState(row["state"]), row["error"],
        row["created_at"],
    )  # fmt: skip
