"""The seam between the worker, which knows jobs, and the makers, which know one task each.

An order goes in, with what the caller asked and sent; files and facts come out, or an error of our own tree.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from safelight.records import AssetKind, JobRequest, Task
from safelight.storage.database import Transaction

Answer = TypeVar("Answer")
Keep = Callable[
    [Transaction, int], Awaitable[None]
]  # writes what becomes true together with the success of the job of that id


@dataclass(frozen=True, slots=True)
class Made:
    """What a job came to: its files in the order of ``JobRequest.makes``, each read when it is stored, and what is told of them."""

    files: Sequence[bytes]
    steps: int
    seconds: float  # on the device
    model: str | None = None  # what was really used
    nsfw: Sequence[bool] = ()
    native_size: tuple[int, int] = (0, 0)  # (width, height) before enlargement
    kinds: Sequence[AssetKind] | None = None  # of the files, where the request could not say
    keep: Keep | None = None


Sketch = Callable[
    [], bytes | None
]  # makes a small WebP of what is coming, in a thread; None where it must not be shown


class Note(Protocol):
    """Takes the steps done, how many there are, and perhaps what is coming. May be called from any thread."""

    def __call__(self, step: int, steps: int, sketch: Sketch | None = None) -> None: ...


@dataclass(eq=False)
class Order:
    """One job as its maker sees it.

    ``note`` is told how far it is. While the maker does what ``cost`` stands for it is inside of ``at_work``.
    """

    request: JobRequest
    owner: str  # whose caches it may use
    inputs: Mapping[AssetKind, bytes]
    note: Note
    at_work: Callable[[], AbstractContextManager[None]]
    _taken_back: bool = False
    _cancels: list[Callable[[], None]] = field(default_factory=list)
    _watched: bool = False
    _watches: list[Callable[[bool], None]] = field(default_factory=list)

    def when_taken_back(self, cancel: Callable[[], None]) -> None:
        """``cancel`` ends the work early: at once, where it is not wanted already."""
        self._cancels.append(cancel)
        if self._taken_back:
            cancel()

    def take_back(self) -> None:
        """Nobody waits for it any more. What the maker still answers is passed over."""
        self._taken_back = True
        for cancel in self._cancels:
            cancel()

    def when_watched(self, tell: Callable[[bool], None]) -> None:
        """``tell`` is told whether somebody wants to see sketches, now and whenever that changes."""
        self._watches.append(tell)
        tell(self._watched)

    def watch(self, wanted: bool) -> None:
        self._watched = wanted
        for tell in self._watches:
            tell(wanted)


class OneAtATime:
    """For work of one step in a thread: that of one order after that of the other."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    async def do(self, order: Order, work: Callable[[], Answer]) -> tuple[Answer, float]:
        """What came of it, and the seconds that it took."""
        async with self._turn:
            began = time.monotonic()
            with order.at_work():
                answer = await asyncio.to_thread(work)
                order.note(1, 1)
            return answer, time.monotonic() - began


class Maker(Protocol):
    """Does one task. Raises Invalid for what only the work itself could find wrong, EngineFailed where it failed."""

    task: Task

    async def make(self, order: Order) -> Made: ...

    def purge(self, owner: str) -> None:
        """Drop what is kept of this owner, at once."""
