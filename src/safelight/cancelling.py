"""Ends asyncio tasks for certain. Before Python 3.12 ``asyncio.wait_for`` loses a cancellation that comes with its result, and libraries
that we stand on wait by it: so who has not ended after a while is told again. Knows nothing of what the tasks do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

AGAIN_SECONDS = 2.0


async def cancel(*tasks: asyncio.Task[Any], busy: Callable[[], object] = bool) -> None:
    """Returns once all have ended, however they did. While ``busy`` nothing is said again: to some, twice means at once."""
    for task in tasks:
        task.cancel()
    pending = set(tasks)
    while pending:
        _, pending = await asyncio.wait(pending, timeout=AGAIN_SECONDS)
        for task in () if busy() else pending:
            task.cancel()
