"""One question for all who ask at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from safelight.errors import Unavailable
from safelight.service.together import Together

pytestmark = pytest.mark.anyio


class Clerk:
    """Answers each key with the number of the question, once its gate is open."""

    def __init__(self) -> None:
        self.questions: list[list[str]] = []
        self.gates = [asyncio.Event() for _ in range(4)]
        self.together = Together(self._answer)
        self.fails = False

    async def _answer(self, keys: Sequence[str]) -> dict[str, int]:
        number = len(self.questions)
        self.questions.append(list(keys))
        await self.gates[number].wait()
        if self.fails:
            raise Unavailable
        return {key: number for key in keys if key != "unknown"}

    def ask(self, *keys: str) -> list[asyncio.Task[int | None]]:
        return [asyncio.create_task(self.together.find(key)) for key in keys]

    async def asked(self, questions: int) -> None:
        async with asyncio.timeout(60):
            while len(self.questions) < questions:
                await asyncio.sleep(0)


async def test_who_asks_at_once_shares_a_question_and_nobody_hears_of_before() -> None:
    clerk = Clerk()
    first = clerk.ask("a", "b", "a", "unknown")
    await clerk.asked(1)
    second = clerk.ask("a")
    await clerk.asked(2)
    third = clerk.ask("a", "c")
    clerk.gates[1].set()
    await clerk.asked(3)
    for gate in clerk.gates:
        gate.set()
    assert [await each for each in first + second + third] == [0, 0, 0, None, 1, 2, 2]
    assert clerk.questions == [["a", "b", "unknown"], ["a"], ["a", "c"]]
    assert await clerk.together.find("a") == 3  # nothing is remembered


async def test_an_error_is_told_to_all_and_one_who_leaves_takes_nobody_along() -> None:
    clerk = Clerk()
    leaves, stays = clerk.ask("a", "a")
    await clerk.asked(1)
    leaves.cancel()
    clerk.gates[0].set()
    assert await stays == 0
    clerk.fails = True
    clerk.gates[1].set()
    for each in clerk.ask("a", "b", "b"):
        with pytest.raises(Unavailable):
            await each
    clerk.fails = False
    clerk.gates[2].set()
    assert await clerk.together.find("b") == 2
