"""One question for all who ask at the same time: its cost is shared, its answer is as fresh as if each had asked alone.

A question goes out only after everybody whom it answers has asked, so nobody hears what was true before. Nothing is remembered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Generic, TypeVar

Key = TypeVar("Key")
Answer = TypeVar("Answer")

AT_ONCE = 2  # questions under way
PATIENCE = 0.05  # seconds that one may take until the next goes out beside it: many share one, and one that hangs holds up nobody


class Together(Generic[Key, Answer]):
    """``ask`` answers for many keys at once and leaves out those that it finds nothing for. Belongs to one event loop."""

    def __init__(self, ask: Callable[[Sequence[Key]], Awaitable[Mapping[Key, Answer]]]) -> None:
        self._ask = ask
        self._waiting: dict[Key, asyncio.Future[Answer | None]] = {}
        self._asking: set[asyncio.Task[None] | None] = set()

    async def find(self, key: Key) -> Answer | None:
        """Raises what ``ask`` raises."""
        answer = self._waiting.get(key)
        if answer is None:
            answer = self._waiting[key] = asyncio.get_running_loop().create_future()
            if not self._asking:
                self._begin()
            elif len(self._waiting) == 1:
                asyncio.get_running_loop().call_later(PATIENCE, self._begin)
        return await asyncio.shield(answer)  # the others go on where one goes away

    def _begin(self) -> None:
        if self._waiting and len(self._asking) < AT_ONCE:
            self._asking.add(asyncio.create_task(self._ask_for_all()))

    async def _ask_for_all(self) -> None:
        while self._waiting:
            waiting, self._waiting = self._waiting, {}
            try:
                found = await self._ask(list(waiting))
            except Exception as error:  # noqa: BLE001  # raised in everybody who asked
                for answer in waiting.values():
                    answer.set_exception(error)
            else:
                for key, answer in waiting.items():
                    answer.set_result(found.get(key))
        self._asking.remove(asyncio.current_task())
