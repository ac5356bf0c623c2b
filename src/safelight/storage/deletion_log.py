"""The log of deletions: a file beside the database that is only ever added to, each line sealed to the one before by its hash.

A line is on the disk before its deletion is committed, so that a database which was restored from an older copy can be told again.
Several processes may write. Knows nothing of the database; in its lines are ids, moments and hashes, nothing that a caller wrote.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from safelight.errors import Damaged, Unavailable
from safelight.storage.disk import make_folder, sync

SPARE = 2**18  # bytes held ready behind the last line: deleting goes on for a while where the disk is full
HASH = 64  # hexadecimal digits, after a space at the end of each line
MARK_BYTES = 8


def mark_of(name: str) -> str:
    """Tells a request from another that has its id in another database, and nothing of the request."""
    return hashlib.sha256(name.encode()).digest()[:MARK_BYTES].hex()


@dataclass(frozen=True, slots=True)
class Deletion:
    """One receipt's worth of erasure, or a part of it. Requests by their ids, each with its mark."""

    receipt: str
    account: int
    key: int | None
    scope: str
    at: str  # ISO 8601
    whole: Mapping[str, str] = field(default_factory=dict)
    sent: Mapping[str, str] = field(default_factory=dict)  # of these, only what their callers sent
    closed: str = ""  # the mark of the account, where it is the account itself that goes


@dataclass(frozen=True, slots=True)
class Place:
    """Behind a line. ``lines`` counts those that tell of deletions."""

    bytes: int = 0
    lines: int = 0
    hash: str = "0" * HASH


@dataclass(frozen=True, slots=True)
class Beginning:
    """The first line."""

    log: uuid.UUID
    begun: str


class DeletionLog:
    """``open`` it before use. Belongs to one event loop; those who append at the same time share one write and one sync."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._end = Place()
        self._waiting: list[tuple[Sequence[Deletion], asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None

    def open(self) -> Beginning:
        """Made where there is none. Raises Damaged where the first line is no beginning."""
        if not self.path.exists():
            self._begin()
        return self.beginning()

    def beginning(self) -> Beginning:
        with self.path.open("rb") as file:
            first = next(_lines(file, Place()), None)
        if first is None or "log" not in first[1]:
            raise Damaged(f"{self.path} does not begin as a log of deletions does.")
        return Beginning(uuid.UUID(first[1]["log"]), first[1]["begun"])

    def read(self, after: Place | None = None) -> Iterator[tuple[Place, list[Deletion]]]:
        """Every line behind a place, checked. Raises Damaged where one does not follow, or the place is not in this log."""
        with self.path.open("rb") as file:
            start = after or Place()
            if not _stands(file, start):
                raise Damaged(f"{self.path} ends before what was read of it earlier, or differs from it.")
            for place, told in _lines(file, start):
                yield place, [Deletion(**each) for each in told.get("erased", ())]

    async def append(self, *deletions: Deletion) -> None:
        """From its return on they are on the disk, in one line. Raises Unavailable where they cannot be."""
        if not deletions:
            return
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((deletions, written))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write_all())
        await written

    async def _write_all(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            failed: Exception | None = None
            try:
                await asyncio.to_thread(self._write, [each for deletions, _ in batch for each in deletions])
            except (OSError, Damaged) as error:
                failed = Unavailable("The log of deletions cannot be written; nothing was deleted.")
                failed.__cause__ = error
            for _, written in batch:
                if not written.done():
                    written.set_exception(failed) if failed else written.set_result(None)

    def _write(self, deletions: Sequence[Deletion]) -> None:
        with self._held() as file:
            self._catch_up(file)
            body = {"at": _now(), "erased": [asdict(each) for each in deletions]}
            self._end = _add(file, self._end, body)

    @contextmanager
    def _held(self) -> Iterator[BinaryIO]:
        """By one writer at a time, of any process. The file is not made here: one that is missing was lost."""
        with self.path.open("r+b", buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file

    def _catch_up(self, file: BinaryIO) -> None:
        """With what others wrote. A line that was cut off by a crash was never answered for, and makes room."""
        if not _stands(file, self._end):
            self._end = Place()
        for place, _ in _lines(file, self._end):
            self._end = place
        file.seek(self._end.bytes)
        if file.read().strip(b"\0"):
            file.truncate(self._end.bytes)

    def _begin(self) -> None:
        """Beside its place and then into it, so that nobody finds half a line; of two at once the first wins."""
        make_folder(self.path.parent)
        fresh = self.path.with_name(f"{self.path.name}.{uuid.uuid4().hex}")
        try:
            with os.fdopen(os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "r+b", buffering=0) as file:
                _add(file, Place(), {"log": str(uuid.uuid4()), "begun": _now()})
            try:
                os.link(fresh, self.path)
            except FileExistsError:
                return
        finally:
            fresh.unlink(missing_ok=True)
        sync(self.path.parent)


def _add(file: BinaryIO, end: Place, body: Mapping[str, object]) -> Place:
    text = json.dumps(body, separators=(",", ":")).encode()
    digest = _digest(end.hash, text)
    line = text + b" " + digest.encode() + b"\n"
    _reserve(file, end.bytes, len(line))
    file.seek(end.bytes)
    rest = memoryview(line)
    while rest:
        rest = rest[file.write(rest) :]
    os.fsync(file.fileno())
    return Place(end.bytes + len(line), end.lines + ("erased" in body), digest)


def _reserve(file: BinaryIO, start: int, length: int) -> None:
    """Half of the room is always there; a disk that has no more leaves us what we have."""
    if os.fstat(file.fileno()).st_size - start - length < SPARE // 2:
        try:
            os.posix_fallocate(file.fileno(), start, length + SPARE)
        except OSError:
            return


def _stands(file: BinaryIO, place: Place) -> bool:
    """Whether the line before it is the one that was there."""
    if place.bytes == 0:
        return True
    file.seek(max(0, place.bytes - HASH - 1))
    return file.read(HASH + 1) == place.hash.encode() + b"\n"


def _lines(file: BinaryIO, place: Place) -> Iterator[tuple[Place, dict[str, Any]]]:
    """Until the end, or the line that a crash cut off: that one has no end, or nothing where a part of it should be."""
    with open(file.fileno(), "rb", closefd=False) as reader:
        reader.seek(place.bytes)
        for line in reader:
            if b"\0" in line or not line.endswith(b"\n"):
                if reader.read().strip(b"\0"):
                    raise _broken(file, place)
                return
            text, _, digest = line[:-1].rpartition(b" ")
            if digest.decode("ascii", "replace") != _digest(place.hash, text):
                raise _broken(file, place)
            body: dict[str, Any] = json.loads(text)
            place = Place(place.bytes + len(line), place.lines + ("erased" in body), digest.decode())
            yield place, body


def _broken(file: BinaryIO, place: Place) -> Damaged:
    return Damaged(f"{file.name} is broken: line {place.lines + 2} does not follow from the one before.")


def _digest(before: str, text: bytes) -> str:
    return hashlib.sha256(before.encode() + text).hexdigest()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
