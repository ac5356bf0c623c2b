"""The worker: claims jobs, hands them to the maker of their task, keeps what it made, and finishes each in one fenced transaction.

Many jobs are under way at a time. Whatever happens to a job while it runs (erased, lease lost, shutdown) is decided by its row
alone. Knows no task: what is asked and how it is made is the makers' to know.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from typing import TypeVar

from safelight.cancelling import cancel
from safelight.errors import Cancelled, EngineFailed, Invalid, KeyLost, NotFound, Unavailable
from safelight.records import AssetKind
from safelight.service.assets import output_name
from safelight.service.board import Board
from safelight.service.courtesy import Courtesy, Needs, needs_nothing
from safelight.service.ends import drop_inputs, fail
from safelight.service.jobs import QUEUES, discard, enqueue
from safelight.service.lending import Lending
from safelight.service.makers.maker import Made, Maker, Order, Sketch
from safelight.service.outbox import announce_end
from safelight.service.pulse import Pulse
from safelight.service.requests import from_json
from safelight.service.run import BrokenOff, Fate, Run
from safelight.service.seals import SEALED_BYTES, Seal
from safelight.service.speed import Meter
from safelight.service.telling import News, Telling
from safelight.service.vault import Vault
from safelight.settings import Settings
from safelight.storage.blobs import Blobs, new_key
from safelight.storage.database import Database, Row
from safelight.storage.queue import EDITS, Queue

log = logging.getLogger(__name__)

FAILED = "The picture could not be made."
INPUT_LOST = "The init image or mask could not be read."
DRAIN_SECONDS = 20.0
DRAIN = "drain"  # why a job is tried again, as /metrics tells
STEP_SECONDS = 1.0  # least time between two writes of a job's progress
FILES_AT_ONCE = 4  # of one job
PATIENCE = 60.0  # seconds that a finished job waits for a database or blob store that does not answer

Answer = TypeVar("Answer")


class Worker:
    """Works for as long as ``run`` runs, on the tasks that it has makers for.

    Make it before the database is opened, so that it hears of erasures.
    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        queue: Queue,
        blobs: Blobs,
        vault: Vault,
        *,
        makers: Sequence[Maker],
        name: str,
        pulse: Callable[[], Pulse] = Pulse,
        needs: Needs = needs_nothing,
    ) -> None:
        self._settings, self._database, self._queue, self._blobs, self._vault = settings, database, queue, blobs, vault
        self._makers = {maker.task: maker for maker in makers}
        self._queues = sorted({QUEUES[task] for task in self._makers})
        self._name = name
        self._pulse = pulse
        self._meter = Meter()
        self._board, self._claiming = Board(), asyncio.Lock()
        self._runs: set[Run] = set()
        self._owners: set[str] = set()
        self._telling = Telling(database)
        self._lending = Lending(database, vault)
        self._courtesy = Courtesy(settings, database, vault, name, needs=needs, pulse=pulse, take=self._make)
        for each in self._queues:
            queue.teach(each, self._work)
        database.on("safelight_erased", self._hear_of_erasure)

    async def run(self, stop: asyncio.Event) -> None:
        """Until ``stop`` is set: then nothing new is claimed, and what runs is finished or, after a while, handed back."""
        pulse = asyncio.create_task(self._keep_pulse(), name="pulse")
        telling = asyncio.create_task(self._telling.run(), name="telling")
        work = [asyncio.create_task(self._queue.work([each], concurrency=self._places(each))) for each in self._queues]
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait({*work, pulse, telling, stopped}, return_when=asyncio.FIRST_COMPLETED)
        hand_back = asyncio.get_running_loop().call_later(DRAIN_SECONDS, self._hand_back_all)
        await asyncio.gather(self._courtesy.settle(), cancel(*work, busy=lambda: self._runs))
        hand_back.cancel()
        await cancel(pulse, telling, stopped)
        for outcome in await asyncio.gather(*work, pulse, telling, stopped, return_exceptions=True):
            if isinstance(outcome, Exception):
                raise outcome

    def _places(self, queue: str) -> int:
        """Of each queue's own, so that many of one kind leave room for the others."""
        return self._settings.edit_concurrency if queue == EDITS else self._settings.worker_concurrency

    async def _work(self, entry: int, about: str) -> None:
        await self._courtesy.offer(entry, int(about))
        await self._make(entry, int(about))

    async def _make(self, entry: int, job_id: int) -> None:
        """One entry of the queue, whole. Never raises: what went wrong is told by the job's row."""
        run = await self._claim(entry, job_id)
        if run is None:
            return  # erased, or claimed by a newer entry
        try:
            await self._aboard(run)
            async with self._lending.borrowed(run.row):
                order = await self._order(run)
                with self._telling.of(run.news):
                    made = await self._makers[order.request.task].make(order)
                await self._finish(run, order, made)
        except Exception as error:  # noqa: BLE001  # the border of the worker: every job gets its answer
            await self._give_up(run, error)
        finally:
            self._runs.discard(run)
            self._board.leave(run)

    async def _claim(self, entry: int, job_id: int) -> Run | None:
        """One at a time, so that everybody who begins at once may be on board with everybody else."""
        async with self._claiming:
            row = await self._patiently(
                lambda: self._database.one(
                    "jobs.claim", id=job_id, entry=entry, lease=self._settings.stalled_seconds, worker=self._name,
                    welcome=self._board.welcome,
                )
            )  # fmt: skip
            if row is None:
                return None
            run = Run(row, News(row["id"], row["attempt"], steps=row["steps"]))
            self._runs.add(run)
            if row["begun"]:
                self._board.admit(run, row["company"])
            return run

    async def _aboard(self, run: Run) -> None:
        """It has begun from here on, and its row says so."""
        if run.row["begun"]:
            return
        await run.either(self._board.line_up(run, run.row["company"]))
        if not await self._database.run("jobs.begin", id=run.id, fence=run.fence):
            raise BrokenOff

    async def _order(self, run: Run) -> Order:
        text = await self._vault.text_of(run.row)
        if text is None:
            raise BrokenOff
        order = Order(
            request=from_json(text), owner=run.owner, inputs=await self._inputs(run),
            note=partial(self._note, run), at_work=self._at_work,
        )  # fmt: skip
        self._owners.add(run.owner)
        run.order, run.news.watch = order, order.watch
        if run.fate is not Fate.none:
            order.take_back()
        return order

    async def _inputs(self, run: Run) -> Mapping[AssetKind, bytes]:
        rows = await self._database.all("assets.inputs", id=run.id)
        return {AssetKind.labelled(row["kind"]): await self._patiently(partial(self._input, row)) for row in rows}

    async def _input(self, row: Row) -> bytes:
        return await self._vault.file_of(row, await self._blobs.get(row["blob_key"]))

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        began = self._meter.begin()
        try:
            yield
        finally:
            self._meter.end(began)

    def _note(self, run: Run, step: int, steps: int, sketch: Sketch | None = None) -> None:
        """Called from the makers' threads."""
        run.news.note(step, steps, sketch)
        done = max(step - run.step, 0)
        run.step = step
        self._meter.note(run.row["cost"] * done / max(steps, 1))

    async def _finish(self, run: Run, order: Order, made: Made) -> None:
        """Rows for the files, then their bytes, then the transaction that makes them real. Each may be asked again."""
        kinds = made.kinds or order.request.makes
        run.keys = [new_key(kind.label, kind.suffix) for kind in kinds]
        seal = await self._patiently(lambda: self._vault.seal_of(run.id, sent=False))
        sizes = await asyncio.to_thread(lambda: [len(data) + SEALED_BYTES for data in made.files])
        await self._patiently(lambda: self._intend(run, kinds, sizes))
        hands = asyncio.Semaphore(FILES_AT_ONCE)
        await asyncio.gather(*(self._put(hands, seal, key, made.files, number) for number, key in enumerate(run.keys)))
        await self._patiently(lambda: self._commit(run, order, made, kinds))

    async def _intend(self, run: Run, kinds: Sequence[AssetKind], sizes: Sequence[int]) -> None:
        async with self._database.transaction() as tx:
            if await tx.one("jobs.hold", id=run.id, fence=run.fence) is None:
                raise BrokenOff
            for number, (kind, key, size) in enumerate(zip(kinds, run.keys, sizes, strict=True)):
                await tx.run(
                    "assets.intend", account=run.row["account_id"], request=run.id, kind=kind.label,
                    name=output_name(run.row["file_prefix"], number, kind), blob_key=key, fence=run.fence, size=size,
                )  # fmt: skip

    async def _put(self, hands: asyncio.Semaphore, seal: Seal, key: str, files: Sequence[bytes], number: int) -> None:
        async with hands:
            sealed = await asyncio.to_thread(lambda: seal.close(files[number], key))
            await self._patiently(lambda: self._blobs.put(key, sealed))

    async def _commit(self, run: Run, order: Order, made: Made, kinds: Sequence[AssetKind]) -> None:
        width, height = made.native_size
        async with self._database.transaction() as tx:
            row = await tx.one(
                "jobs.succeed", id=run.id, fence=run.fence, steps=made.steps, seconds=made.seconds, nsfw=list(made.nsfw),
                model=made.model, width=width or None, height=height or None, lives=order.request.lives,
            )  # fmt: skip
            if row is None:
                done = await tx.one("jobs.succeeded_by", id=run.id, fence=run.fence)
                if done and done["found"]:
                    return  # an earlier commit that was not answered
                raise BrokenOff
            if await tx.run("assets.enliven", blob_keys=run.keys) != len(run.keys):
                raise BrokenOff
            if made.keep:
                await made.keep(tx, run.id)
            if row["drop_inputs"]:
                await drop_inputs(tx, run.id)
            await tx.run(
                "jobs.record_usage", id=run.id, account=row["account_id"], pictures=kinds.count(AssetKind.output),
                cost=row["cost"], seconds=made.seconds,
            )  # fmt: skip
            await announce_end(tx, self._queue, run.id, row["account_id"])

    async def _give_up(self, run: Run, error: Exception) -> None:
        """Fails the job, hands it back, or leaves it to whom it belongs now; in every case its half-made pictures go."""
        try:
            match error:
                case _ if run.fate is Fate.handed_back or isinstance(error, Unavailable):
                    await self._hand_back(run)
                case BrokenOff():
                    log.info("job %s was erased or taken back", run.id)
                case NotFound():  # its own erasure, in which case there is nothing left to fail, or something it needs
                    await self._fail(run, FAILED)
                case Cancelled() if run.fate is not Fate.none:
                    log.info("job %s was taken back", run.id)
                case KeyLost():
                    await self._fail(run, error.message)
                case Invalid():  # its sentence may say what was asked, and rests in the clear
                    await self._fail(run, FAILED if run.row["unstored"] else error.message)
                case FileNotFoundError():
                    await self._fail(run, INPUT_LOST)
                case EngineFailed():
                    await self._fail(run, FAILED)
                case _:
                    log.error("job %s failed: %s", run.id, type(error).__name__, exc_info=error)
                    await self._fail(run, FAILED)
            await discard(self._database, self._blobs, run.keys)
        except Unavailable:
            log.warning("job %s is left to the reconciler", run.id)

    async def _fail(self, run: Run, sentence: str) -> None:
        await self._patiently(lambda: fail(self._database, self._queue, run.id, run.fence, sentence))

    async def _hand_back(self, run: Run) -> None:
        """To the queue, as if it had not been tried."""
        async with self._database.transaction() as tx:
            row = await tx.one("jobs.hand_back", id=run.id, fence=run.fence)
            if row is not None:
                await tx.run("jobs.count_retry", id=run.id, why=DRAIN)
                await enqueue(tx, self._queue, run.id, row["task"], row["rank"])

    def _hand_back_all(self) -> None:
        for run in self._runs:
            run.break_off(Fate.handed_back)

    async def _keep_pulse(self) -> None:
        """Leases and progress of what runs here, and what this worker says of itself."""
        said, pause = 0.0, min(STEP_SECONDS, self._settings.heartbeat_seconds)
        while True:
            try:
                await self._renew()
                if time.monotonic() - said >= self._settings.heartbeat_seconds:
                    said = time.monotonic()
                    await self._speak()
            except Unavailable:
                log.warning("the database does not answer the pulse")
            await asyncio.sleep(pause)

    async def _renew(self) -> None:
        held = list(self._runs)
        if not held:
            return
        rows = await self._database.all(
            "jobs.pulse", ids=[run.id for run in held], fences=[run.fence for run in held], steps=[run.step for run in held],
            lease=self._settings.stalled_seconds,
        )  # fmt: skip
        ours = {row["fence"] for row in rows}
        for run in held:
            if run.fence not in ours:
                run.break_off(Fate.lost)

    async def _speak(self) -> None:
        await self._database.run(
            "jobs.node_pulse", name=self._name, seconds_per_cost=self._meter.seconds_per_cost, **asdict(self._pulse())
        )
        await self._courtesy.look()

    def _hear_of_erasure(self, payload: str | None) -> None:
        """Jobs that run here are broken off and the account's caches dropped; after silence, the caches of all."""
        account, _, job = (payload or "").partition(":")
        owners = [account] if payload else list(self._owners)
        for run in [run for run in self._runs if str(run.id) == job]:
            run.break_off(Fate.lost)
        for owner in owners:
            for maker in self._makers.values():
                maker.purge(owner)

    async def _patiently(self, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        """What may be asked twice is, for a while, before a database or blob store is given up."""
        deadline, pause = time.monotonic() + PATIENCE, 0.1
        while True:
            try:
                return await ask()
            except Unavailable:
                if time.monotonic() + pause > deadline:
                    raise
            await asyncio.sleep(pause)
            pause = min(pause * 2, 5.0)
