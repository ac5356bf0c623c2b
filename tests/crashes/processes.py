"""Processes that are forked from one warm program, so that a hundred of them can be killed in a minute: with a house of their own, over the
database and the folder of a test, and a point at which they die.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from safelight.settings import Settings
from tests.crashes.points import Passing, hook
from tests.house import House, Painter, open_house

WARM = multiprocessing.get_context("forkserver")
WARM.set_forkserver_preload([__name__, "tests.crashes.lives"])


@dataclass(frozen=True)
class Told:
    """What the processes of one trial let their caller know before they died: a line each in a file."""

    path: Path

    @property
    def trial(self) -> str:
        return self.path.name

    def tell(self, **what: Any) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps(what) + "\n")

    def all(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.path.read_text().splitlines()] if self.path.exists() else []


Life = Callable[[House, Told], Awaitable[None]]


def begin(
    settings: Settings, life: Life, told: Told, *, deadly: str = "", nth: int = 1, step_seconds: float = 0.0
) -> ForkServerProcess:
    """A process that lives ``life`` and ends, or dies at the ``nth`` pass of a point; it is named for its worker to be buried by."""
    process = WARM.Process(target=_run, args=(settings, life, told, deadly, nth, step_seconds), daemon=True)
    process.start()
    return process


async def ended(process: ForkServerProcess) -> int:
    """Its exit code: 0, or minus the signal that ended it."""
    await asyncio.to_thread(process.join, 120)
    code = process.exitcode
    if code is None:
        process.kill()
    process.close()
    assert code is not None, "it neither ended nor died"
    return code


def name_of(pid: int) -> str:
    return f"process {pid}"


def _run(settings: Settings, life: Life, told: Told, deadly: str, nth: int, step_seconds: float) -> None:
    passed = Passing(deadly, nth)
    hook(passed)
    asyncio.run(_live(settings, life, told, step_seconds))
    told.tell(passed=passed.counts)


async def _live(settings: Settings, life: Life, told: Told, step_seconds: float) -> None:
    async with open_house(settings, name=name_of(os.getpid()), painter=Painter(step_seconds)) as house:
        await life(house, told)
