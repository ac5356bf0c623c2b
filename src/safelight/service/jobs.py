"""Accepting jobs and telling how they stand. Acceptance is one transaction: room, job, request, inputs and queue entry, or nothing.

Bytes of inputs come between a transaction that intends them and the one that accepts the job, so that a row stands for them
at every moment. Knows nothing of how pictures are made or of how callers speak.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from safelight.errors import Invalid, NotFound, Overloaded, OverQuota, SafelightError, Unavailable
from safelight.records import (
    Account,
    AssetKind,
    Bitmap,
    Job,
    JobRequest,
    QueueLoad,
    Task,
)
from safelight.service.ledger import hold, queue_limit, refuse_empty
from safelight.service.once import Once
from safelight.service.requests import check_store, job_of, to_json
from safelight.service.seals import Seal
from safelight.service.space import check_space
from safelight.service.speed import UNMEASURED
from safelight.service.together import Together
from safelight.service.vault import Vault, forget_unused, sealed_text
from safelight.settings import Settings
from safelight.storage.blobs import Blobs, new_key
from safelight.storage.database import Database, Row, Transaction
from safelight.storage.queue import EDITS, MODELS, PICTURES, Queue

LARGEST_ID = 2**63 - 1
RETRY_AFTER = 300  # seconds; the longest wait that a refusal names
QUEUES = {  # a queue for each kind of work: what waits in one holds up none of the others
    Task.generate: PICTURES,
    Task.judge: PICTURES,
    Task.upscale: EDITS,
    Task.cut_out: EDITS,
    Task.caption: EDITS,
    Task.install_model: MODELS,
}


@dataclass(frozen=True, slots=True)
class Input:
    """A picture that came with a request, and where its bytes rest."""

    kind: AssetKind
    blob_key: str
    sealed: bytes


Beside = Callable[[Transaction, int], Awaitable[None]]


class _SentAgain(Exception):
    """Another transaction has accepted this very request."""


@dataclass(frozen=True, slots=True)
class Arriving:
    """Requests to be counted beside the rows: of one account, and of all."""

    mine: int = 0
    total: int = 0


NOBODY = Arriving()


class Jobs:
    """Jobs of accounts. Every question names the account, and what is not its own is not there."""

    def __init__(self, settings: Settings, database: Database, queue: Queue, blobs: Blobs, vault: Vault) -> None:
        self._settings, self._database, self._queue, self._blobs, self._vault = settings, database, queue, blobs, vault
        self._waiting: dict[int, set[asyncio.Event]] = {}
        self._arriving: Counter[int] = (
            Counter()
        )  # by account; requests in this process whose pictures are being fetched
        self._rows, self._load = Together(self._find_all), Together(self._find_load)
        database.on("safelight_done", self._wake)

    async def submit(
        self,
        account: Account,
        request: JobRequest,
        pictures: Mapping[AssetKind, Bitmap] | None = None,
        *,
        once: Once | None = None,
        beside: Beside | None = None,
    ) -> Job:
        """Raises OverQuota or Overloaded before any byte is written. Once it returns, the job will end.

        With ``once``, of any number of calls at the same time one makes a job and all give it back. ``beside`` writes what is to
        stand from the moment that the job does.
        """
        check_store(request, preferred=account.stores, repeatable=once is not None)
        body = to_json(request)
        async with self._database.transaction() as tx:
            rank = await self._room(tx, account)
            row = await tx.one("jobs.next_id")
        assert row is not None
        job_id = row["id"]
        if not request.store:
            self._vault.hold(job_id, Seal.new())
        sent = await self._vault.new(job_id)
        inputs = _inputs(pictures or {}, sent)
        try:
            await self._store(account, job_id, inputs, sent)
            await self._accept(account, job_id, rank, request, body, inputs, once, beside)
        except _SentAgain:
            await self._withdraw(inputs)
            return await self._first(account, once)
        except SafelightError as refused:
            if isinstance(refused, Unavailable) and await self._accepted(account, job_id):
                return await self.get(account, job_id)
            self._vault.let_go(job_id)
            await self._withdraw(inputs)
            raise
        return await self.get(account, job_id)

    async def earlier(self, account: Account, once: Once) -> Job | None:
        """The job of an earlier call. Raises Invalid where that one asked for something else, NotFound where it was erased."""
        row = await self._database.one("once.find", account=account.id, key=once.key)
        if row is None:
            return None
        if row["request"] != once.request:
            raise Invalid("Idempotency-Key", "was sent before with another request")
        return await self.get(account, row["job_id"])

    async def _first(self, account: Account, once: Once | None) -> Job:
        job = once and await self.earlier(account, once)
        if not job:
            raise Unavailable
        return job

    @asynccontextmanager
    async def room(self, account: Account, task: Task | None = None) -> AsyncIterator[None]:
        """While its pictures are fetched, a request counts as if it waited already: what has no room is refused before that work.

        Raises OverQuota or Overloaded, and NoCredit where ``task`` has a price and the wallet is empty.
        """
        ahead = Arriving(self._arriving[account.id], self._arriving.total())
        self._arriving[account.id] += 1
        try:
            async with self._database.transaction() as tx:
                await self._room(tx, account, ahead)
                if task:
                    await refuse_empty(tx, self._settings, account, task)
            yield
        finally:
            self._arriving[account.id] -= 1
            if not self._arriving[account.id]:
                del self._arriving[account.id]

    async def wait(self, account: Account, job_id: int, seconds: float) -> Job:
        """The job once it is final, or as it stands after ``seconds``."""
        done = asyncio.Event()
        self._waiting.setdefault(job_id, set()).add(done)
        try:
            async with asyncio.timeout(seconds):
                while not (job := await self.get(account, job_id)).state.final:
                    await done.wait()
                    done.clear()
        except TimeoutError:
            return await self.get(account, job_id)
        finally:
            self._waiting[job_id].discard(done)
            if not self._waiting[job_id]:
                del self._waiting[job_id]
        return job

    async def get(self, account: Account, job_id: int) -> Job:
        """Raises NotFound for what is unknown, another's, or erased: alike."""
        found = 0 < job_id <= LARGEST_ID and await self._rows.find((job_id, account.id))
        if not found:
            raise NotFound(ids=[job_id])
        return job_of(found, await self._vault.text_of(found))

    async def find(self, account: Account, task: str) -> Job:
        """By its file prefix, or by its id in decimal. Raises NotFound."""
        if task.isascii() and task.isdecimal() and len(task) < 20:
            return await self.get(account, int(task))
        prefix = as_prefix(task)
        row = prefix and await self._database.one("jobs.by_prefix", file_prefix=prefix, account=account.id)
        if not row:
            raise NotFound(ids=[task])
        return await self.get(account, row["id"])

    async def unfinished(self, account: Account) -> int:
        row = await self._database.one("jobs.room", account=account.id)
        return int(row["mine"]) if row else 0

    async def load(self) -> QueueLoad:
        load = await self._load.find(None)
        assert load is not None
        return load

    async def eta(self, job: Job) -> float:
        """Seconds until it is done: what stands before it and its own part, at the speed that the workers measured."""
        row = await self._database.one("jobs.cost_until", id=job.id)
        return _seconds(row) if row and not job.state.final else 0.0

    async def limit(self, account: Account) -> int:
        """How many jobs the account may have waiting or running: its operator's word, else its plan's, else the settings'."""
        async with self._database.transaction() as tx:
            row = await tx.one("jobs.room", account=account.id)
            own = row and row["most"]
            return own or await queue_limit(tx, self._settings, account) or self._settings.account_queue

    async def _find_all(self, asked: Sequence[tuple[int, int]]) -> dict[tuple[int, int], Row]:
        ids, accounts = map(list, zip(*asked, strict=True))
        rows = await self._database.all("jobs.get", ids=ids, accounts=accounts)
        return {(row["id"], row["account_id"]): row for row in rows}

    async def _find_load(self, _: Sequence[None]) -> dict[None, QueueLoad]:
        row = await self._database.one("jobs.load")
        assert row is not None
        return {None: QueueLoad(row["queued"], row["running"], _seconds(row))}

    async def _store(self, account: Account, job_id: int, inputs: Sequence[Input], seal: Seal) -> None:
        if not inputs:
            return
        async with self._database.transaction() as tx:
            await self._vault.keep(tx, job_id, seal, sent=True)
            for each in inputs:
                await tx.run(
                    "assets.intend", account=account.id, request=job_id, kind=each.kind.label, blob_key=each.blob_key,
                    name=each.blob_key.rpartition("/")[2], fence=0, size=len(each.sealed),
                )  # fmt: skip
        for each in inputs:
            await self._blobs.put(each.blob_key, each.sealed)

    async def _accept(
        self,
        account: Account,
        job_id: int,
        rank: int,
        request: JobRequest,
        body: Row,
        inputs: Sequence[Input],
        once: Once | None,
        beside: Beside | None,
    ) -> None:
        """The room is asked for last, by one at a time, so that nobody holds up the others for longer than that."""
        seal = await self._vault.new(job_id)
        async with self._database.transaction() as tx:
            await tx.run(
                "jobs.accept", id=job_id, account=account.id, key=account.key_id, file_prefix=str(uuid.uuid4()),
                rank=rank, task=request.task.value, cost=request.cost, steps=request.steps_to_run, files=len(request.makes),
                tells=bool(request.webhook), lives=request.lives, unstored=not request.store,
            )  # fmt: skip
            if once and not await tx.run(
                "once.claim", account=account.id, key=once.key, request=once.request, job=job_id
            ):
                raise _SentAgain
            await self._vault.keep(tx, job_id, seal, sent=False)
            await tx.run("jobs.keep_request", id=job_id, sealed=sealed_text(seal, body))
            if inputs and await tx.run("assets.enliven", blob_keys=[each.blob_key for each in inputs]) != len(inputs):
                raise Unavailable  # it took so long that they were taken for abandoned
            if beside:
                await beside(tx, job_id)
            await hold(tx, self._settings, account, job_id, request)
            await enqueue(tx, self._queue, job_id, request.task, rank)
            await tx.run("jobs.lock_room")
            await self._room(tx, account, Arriving(-1, -1))  # the job itself is counted by now

    async def _room(self, tx: Transaction, account: Account, ahead: Arriving = NOBODY) -> int:
        """How many jobs this account has waiting or running, where there is room for one more behind those ``ahead`` of it."""
        row = await tx.one("jobs.room", account=account.id)
        assert row is not None
        limit = row["most"] or await queue_limit(tx, self._settings, account)
        await check_space(tx, self._settings, account)
        if row["mine"] + ahead.mine >= (limit or self._settings.account_queue):
            said = f"Rate limit exceeded. Maximum {limit} queued requests allowed." if limit else None
            raise OverQuota(said, await self._retry_after(tx), limit)
        if row["total"] + ahead.total >= self._settings.total_queue:
            raise Overloaded(retry_after=await self._retry_after(tx))
        return int(row["mine"])

    async def _retry_after(self, tx: Transaction) -> int:
        """When about one job more will have ended."""
        load = await tx.one("jobs.load")
        assert load is not None
        return min(RETRY_AFTER, 1 + int(_seconds(load) / max(load["queued"] + load["running"], 1)))

    async def _accepted(self, account: Account, job_id: int) -> bool:
        """Whether a commit that was not answered had been made all the same."""
        try:
            return await self._rows.find((job_id, account.id)) is not None
        except Unavailable:
            return False

    async def _withdraw(self, inputs: Sequence[Input]) -> None:
        """As much as can be done now; the rest is the reconciler's."""
        keys = [each.blob_key for each in inputs]
        try:
            await discard(self._database, self._blobs, keys)
        except Unavailable:
            return

    def _wake(self, payload: str | None) -> None:
        waiting = self._waiting.values() if payload is None else [self._waiting.get(int(payload), set())]
        for events in waiting:
            for event in events:
                event.set()


async def enqueue(tx: Transaction, queue: Queue, job_id: int, task: str, rank: int) -> None:
    """A fresh entry in its task's queue, which alone may claim the job. Who has fewer waiting goes first."""
    entry = await queue.defer(tx, QUEUES[Task(task)], job_id, priority=-rank)
    await tx.run("jobs.enqueue", id=job_id, entry=entry)


async def discard(database: Database, blobs: Blobs, keys: Sequence[str]) -> None:
    """Takes back what was intended under ``keys`` and did not become live, bytes first, by the one who would have written them."""
    if not keys:
        return
    async with database.transaction() as tx:
        await forget_unused(tx, await tx.all("assets.abandon", blob_keys=list(keys)))
    rows = await database.all("assets.deleting_keys", blob_keys=list(keys))
    for row in rows:
        await blobs.delete(row["blob_key"])
    await database.run("assets.gone", ids=[row["id"] for row in rows], settled=True)


def as_prefix(text: str) -> str | None:
    """A file prefix in the form that it is kept in, where the text is one."""
    try:
        return str(uuid.UUID(text))
    except ValueError:
        return None


def _inputs(pictures: Mapping[AssetKind, Bitmap], seal: Seal) -> list[Input]:
    keys = {kind: new_key(kind.label, kind.suffix) for kind in pictures}
    return [Input(kind, keys[kind], seal.close(bitmap.png, keys[kind])) for kind, bitmap in pictures.items()]


def _seconds(row: Row) -> float:
    """That what waits will take, at the speed that the workers measured."""
    return float(row["cost"] / (row["cost_per_second"] or UNMEASURED))
