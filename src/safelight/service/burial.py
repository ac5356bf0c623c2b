"""Phase one of every erasure, within one transaction: keys and words deleted, files marked for removal, the log of deletions told.

From the commit on nothing of it can be read. The log is told last, so that whatever it says was about to be committed.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from safelight.errors import NotFound
from safelight.records import Account
from safelight.service.ledger import settle
from safelight.service.vault import Vault, forget_sent
from safelight.settings import Settings
from safelight.storage.database import Row, Transaction
from safelight.storage.deletion_log import Deletion, DeletionLog, mark_of


@dataclass(frozen=True, slots=True)
class Doomed:
    """What one transaction erases. Requests by their ids, each with its name, which only its mark leaves the database."""

    whole: Mapping[int, str] = field(default_factory=dict)
    sent: Mapping[int, str] = field(default_factory=dict)  # of these, only what their callers sent
    cached: Mapping[int, int] = field(
        default_factory=dict
    )  # the files of those that nobody works on, with their requests

    @property
    def ids(self) -> list[int]:
        return sorted({*self.whole, *self.cached.values()})


class Burial:
    def __init__(self, settings: Settings, vault: Vault, log: DeletionLog) -> None:
        self._settings, self._vault, self._log = settings, vault, log

    async def bury(self, tx: Transaction, account: Account, receipt_id: uuid.UUID, scope: str, doomed: Doomed) -> None:
        """With a new receipt. Raises Unavailable where the log cannot be told: then nothing may be committed."""
        receipt = await tx.one(
            "erasure.add_receipt", id=receipt_id, account=account.id, key=account.key_id, scope=scope, at=None,
            ids=doomed.ids,
        )  # fmt: skip
        assert receipt is not None
        await self._bury(tx, account, receipt_id, doomed)
        if doomed.whole or doomed.sent:
            await self._log.append(_told(account, receipt_id, scope, receipt["requested_at"], doomed))

    async def bury_more(self, tx: Transaction, account: Account, receipt: Row, doomed: Doomed) -> None:
        """Under a receipt that stands. Raises Unavailable as above."""
        if doomed.whole:
            await self._bury(tx, account, receipt["id"], doomed)
            await self._log.append(_told(account, receipt["id"], receipt["scope"], receipt["requested_at"], doomed))

    async def close(self, tx: Transaction, account: Account) -> None:
        """The account itself, of which nothing else is left. Raises NotFound where it was closed before."""
        row = await tx.one("accounts.lock", id=account.id)
        if row is None:
            raise NotFound
        await _close(tx, account.id)
        told = Deletion(
            "", account.id, None, "account", row["at"].isoformat(), closed=mark_of(row["webhook_secret"].hex())
        )
        await self._log.append(told)

    async def bury_again(self, tx: Transaction, told: Deletion) -> bool:
        """What the log tells, in a database that does not know it any more; whether anything was left to erase."""
        if told.closed:
            return await _close_again(tx, told)
        account, receipt_id = Account(told.account, "", told.key), uuid.UUID(told.receipt)
        doomed = await _still_standing(tx, account, told)
        if not doomed.whole and not doomed.cached:
            return False
        await tx.one(
            "erasure.add_receipt", id=receipt_id, account=account.id, key=told.key, scope=told.scope,
            at=datetime.fromisoformat(told.at), ids=doomed.ids,
        )  # fmt: skip
        await self._bury(tx, account, receipt_id, doomed)
        return True

    async def _bury(self, tx: Transaction, account: Account, receipt_id: uuid.UUID, doomed: Doomed) -> None:
        """Jobs before assets, as those who finish jobs do, so that neither waits for the other."""
        ids = list(doomed.whole)
        if ids:
            await tx.run("erasure.cancel_tasks", ids=ids)
            await tx.run("erasure.bury_jobs", receipt=receipt_id, ids=ids)
            await tx.run("erasure.purge_text", ids=ids)
            await tx.run("erasure.cancel_webhooks", ids=ids)
            await tx.run("models.forget", ids=ids)
            await tx.run(
                "erasure.bury_assets",
                account=account.id,
                receipt=receipt_id,
                ids=ids,
                settle=self._settings.stalled_seconds,
            )
            await settle(tx, ids)
            await self._vault.forget(tx, ids)
            await tx.run("jobs.announce", ids=ids)
        await tx.run("erasure.announce", account=account.id, ids=ids)
        if doomed.cached:
            await tx.run("erasure.bury_cached", receipt=receipt_id, ids=list(doomed.cached))
            await forget_sent(tx, list(doomed.cached.values()))


async def lock(tx: Transaction, account: Account, ids: Sequence[int]) -> dict[int, Row]:
    """Jobs and uploads of the account by their ids, each with its name and the receipt of its erasure, locked."""
    jobs = await tx.all("erasure.lock_jobs", account=account.id, ids=list(ids))
    uploads = await tx.all("erasure.lock_uploads", account=account.id, ids=list(ids))
    return {row["id"]: row for row in (*jobs, *uploads)}


async def _still_standing(tx: Transaction, account: Account, told: Deletion) -> Doomed:
    """Only what has the mark as well as the id: the log may be another database's."""
    rows = await lock(tx, account, [int(each) for each in told.whole])
    whole = {
        each: row["name"]
        for each, row in rows.items()
        if row["receipt_id"] is None and mark_of(row["name"]) == told.whole[str(each)]
    }
    ids = [int(each) for each in told.sent]
    await tx.all("erasure.drop_inputs_later", account=account.id, ids=ids)
    cached = [
        row
        for row in await tx.all("erasure.sent_files", account=account.id, ids=ids)
        if mark_of(row["name"]) == told.sent[str(row["request_id"])]
    ]
    return Doomed(whole, cached={row["id"]: row["request_id"] for row in cached})


async def _close_again(tx: Transaction, told: Deletion) -> bool:
    row = await tx.one("accounts.lock", id=told.account)
    if row is None or mark_of(row["webhook_secret"].hex()) != told.closed:
        return False
    await _close(tx, told.account)
    return True


async def _close(tx: Transaction, account_id: int) -> None:
    """Nothing opens it any more, and what it was called is written out of the database's files."""
    for query in (
        "sessions.end_all",
        "once.forget_all",
        "preferences.forget_all",
        "retentions.forget_all",
        "accounts.end_plans",
        "accounts.blank_keys",
    ):
        await tx.run(query, account=account_id)
    await tx.run("accounts.blank", account=account_id)
    await tx.run("accounts.wipe")


def _told(account: Account, receipt_id: uuid.UUID, scope: str, at: datetime, doomed: Doomed) -> Deletion:
    return Deletion(
        str(receipt_id), account.id, account.key_id, scope, at.isoformat(), _marked(doomed.whole), _marked(doomed.sent)
    )


def _marked(names: Mapping[int, str]) -> dict[str, str]:
    return {str(each): mark_of(name) for each, name in names.items()}
