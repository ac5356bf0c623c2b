"""A claimed job while a worker holds it, and why it was broken off, where it was. Knows nothing of rows but their numbers."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from enum import Enum

from safelight.service.makers.maker import Order
from safelight.service.telling import News
from safelight.storage.database import Row


class Fate(Enum):
    """Why a run was broken off, where it was."""

    none = "none"
    lost = "lost"  # erased, or given to another worker
    handed_back = "handed back"


class BrokenOff(Exception):
    """The run's fate was decided elsewhere."""


@dataclass(eq=False)
class Run:
    """A claimed job while it is here. A job that was lost and claimed again is here twice for a while."""

    row: Row
    news: News
    step: int = 0
    fate: Fate = Fate.none
    broken_off: asyncio.Event = field(default_factory=asyncio.Event)
    order: Order | None = None
    keys: list[str] = field(default_factory=list)

    @property
    def id(self) -> int:
        return int(self.row["id"])

    @property
    def fence(self) -> int:
        return int(self.row["fence"])

    @property
    def owner(self) -> str:
        return str(self.row["account_id"])

    def break_off(self, fate: Fate) -> None:
        if self.fate is Fate.none:
            self.fate = fate
        self.broken_off.set()
        if self.order is not None:
            self.order.take_back()

    async def either(self, event: asyncio.Event) -> None:
        """Waits for ``event``, unless the run is broken off first."""
        waiting = [asyncio.create_task(each.wait()) for each in (event, self.broken_off)]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waiting:
                each.cancel()
        if self.broken_off.is_set():
            raise BrokenOff
