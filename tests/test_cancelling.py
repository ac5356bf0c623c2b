"""Tasks that are told to end, and miss it the first time."""

from __future__ import annotations

import asyncio

import pytest

from safelight import cancelling
from safelight.cancelling import cancel

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cancelling, "AGAIN_SECONDS", 0.05)


async def test_a_cancellation_that_comes_with_a_result_is_said_again() -> None:
    """Which Python 3.11 loses: the result is given, and the loop goes on as if nothing had been said."""
    results = [asyncio.get_running_loop().create_future() for _ in range(2)]

    async def work() -> None:
        for result in results:
            await asyncio.wait_for(result, 60)

    working = asyncio.create_task(work())
    await asyncio.sleep(0)
    results[0].set_result(None)
    await cancel(working)
    assert working.cancelled()


async def test_who_is_deaf_is_told_until_it_hears_and_who_is_busy_is_let_be() -> None:
    heard, left, asked = 0, 3, 0

    async def deaf() -> None:
        nonlocal heard
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                heard += 1
                if heard > left:
                    raise

    def busy() -> bool:
        nonlocal asked
        asked += 1
        return asked <= 2

    task = asyncio.create_task(deaf())
    await asyncio.sleep(0)
    await cancel(task, busy=busy)
    assert task.cancelled()
    assert asked - 2 >= heard - 1 == left


async def test_what_has_ended_already_or_raises_is_no_matter() -> None:
    async def wrong() -> None:
        raise ValueError

    tasks = [asyncio.create_task(each) for each in (wrong(), asyncio.sleep(0))]
    await asyncio.wait(tasks)
    await cancel(*tasks)
    assert isinstance(tasks[0].exception(), ValueError)
