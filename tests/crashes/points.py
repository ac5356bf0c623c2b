"""The points at which a process can be made to die, hooked onto the product from outside: none of this is in it, and nothing of it can be
switched on by accident. Before and after the commit of each durable act, and around what is done to files and told to others.

``hook`` is for a process that a test has made for that.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, BinaryIO
from weakref import WeakKeyDictionary

import psycopg

from safelight.service.outbound import Outbound
from safelight.storage import blobs, deletion_log, upgrade, wipe
from safelight.storage.database import Transaction
from safelight.storage.disk import make_folder

ACTS = {  # by a query that is run for each of them
    "jobs.accept": "a job is accepted",
    "jobs.claim": "a job is claimed",
    "jobs.hold": "pictures are intended",
    "jobs.succeed": "a job succeeds",
    "jobs.fail": "a job fails",
    "jobs.of_worker": "a dead worker's jobs are freed",
    "jobs.take_stranded": "a stranded job is given on",
    "outbox.end": "a webhook is done with",
    "outbox.postpone": "a webhook is to be sent again",
    "assets.enliven_upload": "an upload is kept",
    "assets.abandon_old": "what nobody finished is abandoned",
    "erasure.add_receipt": "an erasure has its receipt",
    "batches.write_down": "a large erasure is written down",
    "batches.take": "a slice is erased",
    "assets.gone": "bytes are known to be gone",
    "upkeep.wiped": "keys are known to be wiped",
    "erasure.verify": "receipts are verified",
    "erasure.read_log": "the log of deletions is read",
    "accounts.blank": "an account is closed",
    "purchases.intend": "a charge is written down",
    "purchases.asked": "a charge is to be asked for",
    "purchases.end": "a charge is made",
    "purchases.add_models": "places for models are bought",
    "purchases.subscribe": "a plan is bought",
    "models.begin": "a model is asked for",
    "models.announce": "a model is installed",
    "tallies.fold": "counts are added up",
    "vault.seal_request": "an old request is sealed",
    "vault.intend_sealed": "a sealed file is intended",
    "vault.take_place": "a sealed file takes its place",
    "vault.retire_masters": "a master key is retired",
    "vault.rewrap": "keys are wrapped anew",
    "vault.drop_masters": "a master key is dropped",
}
BEFORE, AFTER = "before the commit: ", "after the commit: "
HALF_A_FILE, FILE_WITHOUT_NAME, FILE_NAMED = "half a file is written", "a file is synced, not named", "a file is named"
FILE_STANDS, FILE_REMOVED = "a file is to be removed", "a file is removed"
HALF_A_LINE, LINE_WRITTEN = (
    "half a line of the log of deletions is written",
    "a line of the log of deletions is on the disk",
)
KEYS_STAND, KEYS_WIPED = "a part of the keys is to be written anew", "a part of the keys is written anew"
TO_BE_POSTED, POSTED = "a webhook is to be posted", "a webhook is posted"
MASTER_WITHOUT_NAME, MASTER_NAMED = "master keys are written, not named", "master keys are named"
QUEUE_MIGRATED, ALL_MIGRATED = "the queue's tables are made", "all tables are made, not committed"

POINTS = (
    *(when + act for act in ACTS.values() for when in (BEFORE, AFTER)),
    HALF_A_FILE, FILE_WITHOUT_NAME, FILE_NAMED, FILE_STANDS, FILE_REMOVED, HALF_A_LINE, LINE_WRITTEN, KEYS_STAND, KEYS_WIPED,
    TO_BE_POSTED, POSTED, MASTER_WITHOUT_NAME, MASTER_NAMED, QUEUE_MIGRATED, ALL_MIGRATED,
)  # fmt: skip
ANY = "whichever point it is"


class Passing:
    """Counts what this process passes, and kills it at the ``nth`` pass of the point ``deadly``."""

    def __init__(self, deadly: str = "", nth: int = 1) -> None:
        assert deadly in ("", ANY, *POINTS)
        self.counts: Counter[str] = Counter()
        self._deadly, self._left = deadly, nth

    def __call__(self, point: str) -> None:
        self.counts[point] += 1
        if self._deadly in (ANY, point):
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


def hook(passed: Passing) -> None:
    """For the rest of this process's life."""
    _hook_commits(passed)
    _hook_files(passed)
    _hook_log(passed)
    _around(wipe, "_write_anew", passed, KEYS_STAND, KEYS_WIPED)
    _around(Outbound, "post", passed, TO_BE_POSTED, POSTED)
    _after(upgrade, "_migrate_queue", passed, QUEUE_MIGRATED)
    _after(upgrade, "_migrate_ours", passed, ALL_MIGRATED)


def _hook_commits(passed: Passing) -> None:
    execute, commit, rollback = Transaction._execute, psycopg.AsyncConnection.commit, psycopg.AsyncConnection.rollback
    done: WeakKeyDictionary[Any, list[str]] = WeakKeyDictionary()

    async def statement(self: Transaction, query: str, values: Any) -> Any:
        if query in ACTS:
            done.setdefault(self.connection, []).append(ACTS[query])
        return await execute(self, query, values)

    async def committed(self: psycopg.AsyncConnection[Any]) -> None:
        acts = done.pop(self, [])
        for act in acts:
            passed(BEFORE + act)
        await commit(self)
        for act in acts:
            passed(AFTER + act)

    async def rolled_back(self: psycopg.AsyncConnection[Any]) -> None:
        done.pop(self, None)
        await rollback(self)

    Transaction._execute = statement  # type: ignore[method-assign]
    psycopg.AsyncConnection.rollback = rolled_back  # type: ignore[method-assign]
    psycopg.AsyncConnection.commit = committed  # type: ignore[method-assign]


def _hook_files(passed: Passing) -> None:
    write, remove, rename = blobs._write, blobs._remove, Path.rename
    names = {".part": (FILE_WITHOUT_NAME, FILE_NAMED), ".new": (MASTER_WITHOUT_NAME, MASTER_NAMED)}

    def written(path: Path, data: bytes) -> None:
        make_folder(path.parent)
        blobs._part(path).write_bytes(data[: len(data) // 2])
        passed(HALF_A_FILE)
        write(path, data)

    def removed(path: Path) -> None:
        passed(FILE_STANDS)
        remove(path)
        passed(FILE_REMOVED)

    def renamed(self: Path, target: Any) -> Path:
        if self.suffix not in names:
            return rename(self, target)
        before, after = names[self.suffix]
        passed(before)
        there = rename(self, target)
        passed(after)
        return there

    blobs._write, blobs._remove, Path.rename = written, removed, renamed  # type: ignore[method-assign,assignment]


class _Halting:
    """A file that takes half of what it is given first, as the interface of unbuffered files allows."""

    def __init__(self, file: BinaryIO, passed: Passing) -> None:
        self._file, self._passed, self._whole = file, passed, False

    def write(self, data: memoryview) -> int:
        if self._whole:
            return self._file.write(data)
        self._whole = True
        taken = self._file.write(data[: len(data) // 2])
        self._passed(HALF_A_LINE)
        return taken

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def _hook_log(passed: Passing) -> None:
    add = deletion_log._add

    def added(file: BinaryIO, end: deletion_log.Place, body: Any) -> deletion_log.Place:
        place = add(_Halting(file, passed), end, body)  # type: ignore[arg-type]
        passed(LINE_WRITTEN)
        return place

    deletion_log._add = added


def _around(owner: Any, name: str, passed: Passing, before: str, after: str) -> None:
    real: Callable[..., Awaitable[Any]] = getattr(owner, name)

    async def done(*given: Any, **named: Any) -> Any:
        passed(before)
        result = await real(*given, **named)
        passed(after)
        return result

    setattr(owner, name, done)


def _after(owner: Any, name: str, passed: Passing, after: str) -> None:
    real: Callable[..., Any] = getattr(owner, name)

    def done(*given: Any, **named: Any) -> None:
        real(*given, **named)
        passed(after)

    setattr(owner, name, done)
