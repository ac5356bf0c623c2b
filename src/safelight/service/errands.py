"""What is to be done because something was heard, beside everything else. Whoever told does not wait for it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine

from safelight.errors import Invalid, Unavailable

log = logging.getLogger(__name__)


class Errands:
    """``about`` completes the sentence that is logged where one comes to nothing."""

    def __init__(self, about: str) -> None:
        self._about = about
        self._under_way: set[asyncio.Task[None]] = set()

    def send(self, errand: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(self._done(errand))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _done(self, errand: Coroutine[None, None, None]) -> None:
        try:
            await errand
        except (Invalid, Unavailable) as error:
            log.warning("%s: %s", self._about, error.message)
