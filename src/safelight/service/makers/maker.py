"""The seam between the worker, which knows jobs, and the makers, which know one task each.

An order goes in, with what the caller asked and sent; files and facts come out, or an error of our own tree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from safelight.records import AssetKind, JobRequest, Task


@dataclass(frozen=True, slots=True)
class Made:
    """What a job came to: its files in the order of ``JobRequest.makes``, and what is told of them."""

    files: Sequence[bytes]
    steps: int
    seconds: float  # on the device
    model: str | None = None  # what was really used
    nsfw: Sequence[bool] = ()
    native_size: tuple[int, int] = (0, 0)  # (width, height) before enlargement


@dataclass(eq=False)
class Order:
    """One job as its maker sees it.

    ``note`` is told the steps done and how many there are, from any thread. While the maker does what ``cost`` stands
    for it is inside of ``at_work``.
    """

    request: JobRequest
    owner: str  # whose caches it may use
    inputs: Mapping[AssetKind, bytes]
    note: Callable[[int, int], None]
    at_work: Callable[[], AbstractContextManager[None]]
    _taken_back: bool = False
    _cancels: list[Callable[[], None]] = field(default_factory=list)

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


class Maker(Protocol):
    """Does one task. Raises Invalid for what only the work itself could find wrong, EngineFailed where it failed."""

    task: Task

    async def make(self, order: Order) -> Made: ...

    def purge(self, owner: str) -> None:
        """Drop what is kept of this owner, at once."""
