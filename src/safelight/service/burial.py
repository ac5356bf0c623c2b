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

Which = tuple[int, int]  # an account, and a request of its


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


@dataclass(frozen=True, slots=True)
class Grave:
    """What is erased under one receipt of an account's."""

    account: Account
    receipt: uuid.UUID
    scope: str
    doomed: Doomed


class Burial:
    def __init__(self, settings: Settings, vault: Vault, log: DeletionLog) -> None:
        self._settings, self._vault, self._log = settings, vault, log

    async def bury(self, tx: Transaction, *graves: Grave) -> None:
        """Each with a new receipt. Raises Unavailable where the log cannot be told: then nothing may be committed."""
        at = [await _add_receipt(tx, grave) for grave in graves]
        await self._bury(tx, graves)
        told = zip(graves, at, strict=True)
        await self._log.append(*(_told(grave, at) for grave, at in told if grave.doomed.whole or grave.doomed.sent))

    async def bury_more(self, tx: Transaction, account: Account, receipt: Row, doomed: Doomed) -> None:
        """Under a receipt that stands. Raises Unavailable as above."""
        if doomed.whole:
            grave = Grave(account, receipt["id"], receipt["scope"], doomed)
            await self._bury(tx, [grave])
            await self._log.append(_told(grave, receipt["requested_at"]))

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
        account = Account(told.account, "", told.key)
        doomed = await _still_standing(tx, account, told)
        if not doomed.whole and not doomed.cached:
            return False
        grave = Grave(account, uuid.UUID(told.receipt), told.scope, doomed)
        await _add_receipt(tx, grave, datetime.fromisoformat(told.at))
        await self._bury(tx, [grave])
        return True

    async def _bury(self, tx: Transaction, graves: Sequence[Grave]) -> None:
        """Jobs before assets, as those who finish jobs do, so that neither waits for the other."""
        whole = [(grave, each) for grave in graves for each in grave.doomed.whole]
        ids, accounts = [each for _, each in whole], [grave.account.id for grave, _ in whole]
        receipts = [grave.receipt for grave, _ in whole]
        if ids:
            await tx.run("erasure.cancel_tasks", ids=ids)
            await tx.run("erasure.bury_jobs", receipts=receipts, ids=ids)
            await tx.run("erasure.purge_text", ids=ids)
            await tx.run("erasure.cancel_webhooks", ids=ids)
            await tx.run("models.forget", ids=ids)
            await tx.run(
                "erasure.bury_assets", accounts=accounts, receipts=receipts, ids=ids, settle=self._settings.stalled_seconds
            )  # fmt: skip
            await settle(tx, ids)
            await self._vault.forget(tx, ids)
            await tx.run("jobs.announce", ids=ids)
        owners = [grave.account.id for grave in graves]  # of each, that something of his is gone
        await tx.run("erasure.announce", accounts=accounts + owners, ids=ids + [None] * len(owners))
        for grave in graves:
            if cached := grave.doomed.cached:
                await tx.run("erasure.bury_cached", receipt=grave.receipt, ids=list(cached))
                await forget_sent(tx, list(cached.values()))


async def lock(tx: Transaction, account: Account, ids: Sequence[int]) -> dict[int, Row]:
    """Jobs and uploads of the account by their ids, each with its name and the receipt of its erasure, locked."""
    return {each: row for (_, each), row in (await lock_all(tx, [(account.id, each) for each in ids])).items()}


async def lock_all(tx: Transaction, which: Sequence[Which]) -> dict[Which, Row]:
    """The same of several accounts."""
    asked = {"accounts": [account for account, _ in which], "ids": [each for _, each in which]}
    jobs, uploads = await tx.all("erasure.lock_jobs", **asked), await tx.all("erasure.lock_uploads", **asked)
    return {(row["account_id"], row["id"]): row for row in (*jobs, *uploads)}


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


async def _add_receipt(tx: Transaction, grave: Grave, at: datetime | None = None) -> datetime:
    """When it was asked for: now, where nothing else is known."""
    account = grave.account
    row = await tx.one(
        "erasure.add_receipt", id=grave.receipt, account=account.id, key=account.key_id, scope=grave.scope, at=at,
        ids=grave.doomed.ids,
    )  # fmt: skip
    assert row is not None
    found: datetime = row["requested_at"]
    return found


def _told(grave: Grave, at: datetime) -> Deletion:
    account, doomed = grave.account, grave.doomed
    marks = _marked(doomed.whole), _marked(doomed.sent)
    return Deletion(str(grave.receipt), account.id, account.key_id, grave.scope, at.isoformat(), *marks)


def _marked(names: Mapping[int, str]) -> dict[str, str]:
    return {str(each): mark_of(name) for each, name in names.items()}
