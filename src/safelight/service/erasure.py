"""Forgetting. Phase one is a single transaction (`burial.py`): it deletes the keys, and from its commit on nothing of what it names
can be read, by us or from any copy of the bytes. Phase two removes the bytes, checks that they are gone, and is repeated by the reconciler
until that is true. Authority comes from the account of the row itself and from nothing else.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import TypeVar
from urllib.parse import unquote, urlsplit

from safelight.errors import NotFound, Unavailable
from safelight.records import Account, Receipt
from safelight.service.batches import SLICE, Batches, Wanted
from safelight.service.burial import Burial, Doomed, Grave, lock
from safelight.service.gathering import Asked, Gathering
from safelight.service.jobs import as_prefix
from safelight.service.media import Medium
from safelight.service.replay import Replay
from safelight.service.together import Together
from safelight.service.vault import Vault
from safelight.settings import Settings
from safelight.storage.blobs import Blobs
from safelight.storage.database import Database, Row
from safelight.storage.deletion_log import DeletionLog
from safelight.storage.reserve import Reserve

log = logging.getLogger(__name__)

Note = Callable[[int, int], None]
Answer = TypeVar("Answer")

REMOVED_AT_ONCE = 4
FILES = 100  # looked for at a time
AT_ONCE_SECONDS = 2.0  # how long a reply waits for phase two, which no promise depends on


class Erasure:
    """Deletes by id, by name, or all that is cached. Repeating a delete gives the receipt of the first."""

    def __init__(
        self, settings: Settings, database: Database, blobs: Blobs, vault: Vault, deletions: DeletionLog
    ) -> None:
        self._settings, self._database, self._blobs = settings, database, blobs
        self._burial = Burial(settings, vault, deletions)
        self.reserve = Reserve(settings.data_dir)
        self.replay = Replay(database, deletions, self._burial)
        self.batches = Batches(database, vault, self._burial)
        self._gathering = Gathering(database, self._burial)
        self._removing, self._receipts = Together(self._remove_all), Together(self._find_receipts)
        self._at_work: set[asyncio.Task[None]] = set()

    async def delete(
        self, account: Account, ids: Sequence[int], *, scope: str | None = None, medium: Medium | None = None
    ) -> Receipt:
        """All of them or none: raises NotFound with the ids that are unknown, another's, or no such medium."""
        wanted = list(dict.fromkeys(ids))
        return await self._finish(account, await self._settled(account, wanted, scope or _scope(wanted), medium))

    async def delete_everything(self, account: Account) -> Receipt:
        """Every job and upload of the account's. Raises NotFound where it has none."""
        ids = await self.batches.meant(account, Wanted())
        if not ids:
            raise NotFound
        return await self._delete_in_slices(account, ids, "account")

    async def delete_many(self, account: Account, ids: Sequence[int]) -> Receipt:
        """All of them or none, however many: raises NotFound with the ids that are unknown or another's. May go on after its return."""
        wanted = list(dict.fromkeys(ids))
        if len(wanted) <= SLICE:
            return await self.delete(account, wanted)
        await self.batches.check(account, wanted)
        return await self._delete_in_slices(account, wanted, "jobs")

    async def delete_where(self, account: Account, wanted: Wanted) -> Receipt:
        """All that is there now and that is wanted. May go on after its return."""
        return await self._delete_in_slices(account, await self.batches.meant(account, wanted), "filter")

    async def delete_tasks(self, account: Account, tasks: Sequence[str], medium: Medium | None = None) -> Receipt:
        """By file prefixes or decimal ids. Raises NotFound with the tasks that are unknown, another's, or no such medium."""
        ids = {task: await self._id_of_task(account, task) for task in dict.fromkeys(tasks)}
        unknown = [task for task, found in ids.items() if found is None]
        if unknown or not ids:
            raise NotFound(ids=unknown)
        try:
            return await self.delete(account, [found for found in ids.values() if found is not None], medium=medium)
        except NotFound as missing:
            raise NotFound(ids=[task for task, found in ids.items() if found in missing.ids]) from None

    async def delete_named(self, account: Account, name_or_url: str, medium: Medium | None = None) -> Receipt:
        """The whole job or upload behind a file's name or address, which may be one to come. Raises NotFound."""
        name = _name(name_or_url)
        number = name and await self._request_of(account, name)
        if not number:
            raise NotFound(ids=[name_or_url])
        return await self.delete(account, [number], medium=medium)

    async def _request_of(self, account: Account, name: str) -> int | None:
        row = await self._database.one("assets.request_of_name", name=name, account=account.id)
        if row:
            return int(row["request_id"])
        return await self._id_of_prefix(
            account, name.rpartition("-")[0]
        )  # a picture in the making has its job's, and no row yet

    async def clear_cache(self, account: Account) -> Receipt:
        """All that is kept only to be used again, and where the operator says so every output with the job behind it.

        A job that still runs keeps its inputs until it ends.
        """
        receipt_id = uuid.uuid4()
        await self._twice(lambda: self._clear(account, receipt_id))
        return await self._finish(account, receipt_id)

    async def _clear(self, account: Account, receipt_id: uuid.UUID) -> None:
        async with self._database.transaction() as tx:
            whole: dict[int, str] = {}
            if self._settings.clear_cache_deletes_outputs:
                ids = [row["id"] for row in await tx.all("erasure.jobs_with_outputs", account=account.id)]
                rows = await lock(tx, account, ids)
                whole = {each: row["name"] for each, row in rows.items() if row["receipt_id"] is None}
            later = await tx.all("erasure.drop_inputs_later", account=account.id, ids=None)
            cached = await tx.all("erasure.cached", account=account.id)
            sent = {row["request_id"]: row["name"] for row in (*later, *cached)}
            doomed = Doomed(whole, sent, {row["id"]: row["request_id"] for row in cached})
            await self._burial.bury(tx, Grave(account, receipt_id, "cache", doomed))

    async def delete_watched(self, account: Account, ids: list[int], scope: str, note: Note) -> Receipt:
        """To the end, slice by slice; ``note`` is told how many are done, of how many."""
        receipt_id, done = await self._accepted(account, ids, scope), 0
        while now := await self.batches.go_on(receipt_id):
            done += now
            note(done, len(ids))
        await self.remove_bytes([receipt_id])
        return await self.receipt(account, str(receipt_id))

    async def close(self, account: Account, note: Note) -> None:
        """Everything that an account has, and last the account itself. Raises NotFound where that is done already."""
        await self._database.run("accounts.revoke_all", account=account.id)
        await self._delete_all(account, note)
        async with self._database.transaction() as tx:
            await self._burial.close(tx, account)
        await self._delete_all(account, note)  # what was accepted at that very moment

    async def receipts(self, account: Account, before: str | None, limit: int) -> list[Receipt]:
        """Newest first. Raises NotFound where ``before`` is none of the account's."""
        after = uuid.UUID((await self.receipt(account, before)).id) if before else None
        rows = await self._database.all("erasure.receipts", account=account.id, before=after, limit=limit)
        return [_receipt(row) for row in rows]

    async def go_on(self) -> None:
        """With what anybody left unfinished."""
        for receipt_id in await self.batches.unfinished():
            while await self.batches.go_on(receipt_id):
                pass

    async def receipt(self, account: Account, receipt_id: str) -> Receipt:
        """Raises NotFound."""
        try:
            found = await self._receipts.find((account.id, uuid.UUID(receipt_id)))
        except ValueError:
            found = None
        if found is None:
            raise NotFound(ids=[receipt_id])
        return found

    async def remove_bytes(self, receipts: Sequence[uuid.UUID] | None = None) -> int:
        """Phase two, of some receipts or of all: how many assets are newly known to be gone."""
        done, after, full, these = 0, 0, True, None if receipts is None else list(receipts)
        while full:
            rows = await self._database.all("assets.deleting", receipts=these, after=after, limit=FILES)
            if gone := await self._removed({row["blob_key"]: row["id"] for row in rows}):
                done += await self._database.run("assets.gone", ids=gone, settled=False)
            full, after = len(rows) == FILES, rows[-1]["id"] if rows else after
        await self._database.run("erasure.verify", receipts=these)
        return done

    async def _remove_all(self, receipts: Sequence[uuid.UUID]) -> dict[uuid.UUID, None]:
        await self.remove_bytes(receipts)
        return {}

    async def _find_receipts(self, asked: Sequence[tuple[int, uuid.UUID]]) -> dict[tuple[int, uuid.UUID], Receipt]:
        accounts, ids = map(list, zip(*asked, strict=True))
        rows = await self._database.all("erasure.receipt", accounts=accounts, ids=ids)
        return {(row["account_id"], row["id"]): _receipt(row) for row in rows}

    async def _delete_in_slices(self, account: Account, ids: list[int], scope: str) -> Receipt:
        receipt_id = await self._accepted(account, ids, scope)
        working = asyncio.create_task(self._work_off(receipt_id))
        self._at_work.add(working)
        working.add_done_callback(self._at_work.discard)
        await asyncio.wait({working}, timeout=AT_ONCE_SECONDS)
        return await self.receipt(account, str(receipt_id))

    async def _delete_all(self, account: Account, note: Note) -> None:
        while ids := await self.batches.meant(account, Wanted()):
            await self.delete_watched(account, ids, "account", note)

    async def _accepted(self, account: Account, ids: list[int], scope: str) -> uuid.UUID:
        receipt_id = uuid.uuid4()
        await self._twice(lambda: self.batches.accept(account, receipt_id, scope, ids))
        return receipt_id

    async def _work_off(self, receipt_id: uuid.UUID) -> None:
        try:
            while await self._twice(lambda: self.batches.go_on(receipt_id)):
                pass
            await self.remove_bytes([receipt_id])
        except Unavailable:
            log.info("erasure %s goes on later", receipt_id)

    async def _settled(self, account: Account, ids: list[int], scope: str, medium: Medium | None) -> uuid.UUID:
        """Phase one."""
        if not ids:
            raise NotFound
        asked = Asked(account, tuple(ids), scope, medium, uuid.uuid4())
        return await self._twice(lambda: self._gathering.bury(asked))

    async def _twice(self, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        """A second time does not hurt what was made and not answered; where the disk is full it has what was held back for it."""
        try:
            return await ask()
        except Unavailable:
            self.reserve.let_go()
            return await ask()

    async def _finish(self, account: Account, receipt_id: uuid.UUID) -> Receipt:
        with suppress(TimeoutError, Unavailable):
            async with asyncio.timeout(AT_ONCE_SECONDS):
                await self._removing.find(receipt_id)
        return await self.receipt(account, str(receipt_id))

    async def _removed(self, assets: Mapping[str, int]) -> list[int]:
        """Of assets by their keys those of which nothing is left."""
        some = asyncio.Semaphore(REMOVED_AT_ONCE)
        reasons = dict(zip(assets, await asyncio.gather(*(self._remove(key, some) for key in assets)), strict=True))
        if told := next(filter(None, reasons.values()), None):
            log.warning("%d files wait to be removed: %s", sum(map(bool, reasons.values())), told)
        return [asset for key, asset in assets.items() if not reasons[key]]

    async def _remove(self, blob_key: str, some: asyncio.Semaphore) -> str | None:
        """Why it is not gone, which is believed only after asking the store what is left of it."""
        async with some:
            try:
                await self._blobs.delete(blob_key)
                return "the store still has them" if await self._blobs.left(blob_key) else None
            except Unavailable as error:
                return error.message

    async def _id_of_task(self, account: Account, task: str) -> int | None:
        if task.isascii() and task.isdecimal() and len(task) < 20:
            return int(task)
        return await self._id_of_prefix(account, task)

    async def _id_of_prefix(self, account: Account, word: str) -> int | None:
        prefix = as_prefix(word)
        row = prefix and await self._database.one("jobs.by_prefix", file_prefix=prefix, account=account.id)
        return row["id"] if row else None


def _scope(ids: Sequence[int]) -> str:
    return "job" if len(ids) == 1 else "jobs"


def _name(name_or_url: str) -> str | None:
    """The last part of an address, as we gave it out."""
    try:
        name = unquote(urlsplit(name_or_url).path).rpartition("/")[2]
    except ValueError:
        return None
    name = name.removesuffix(".base64")
    return None if not name or "\x00" in name or not name.isascii() else name


def _receipt(row: Row) -> Receipt:
    return Receipt(
        id=str(row["id"]), account_id=row["account_id"], key_id=row["key_id"], scope=row["scope"],
        request_ids=tuple(row["request_ids"]), assets=row["assets"], bytes=row["bytes"],
        requested_at=row["requested_at"], verified_at=row["verified_at"], left=row["left"],
    )  # fmt: skip
