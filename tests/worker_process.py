"""A worker in a process of its own, with a painter for an engine, to be killed and stopped by tests.

A request for ``DEADLY`` kills the one whose painter does ``die``, as a picture that makes a driver crash would.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from multiprocessing.context import ForkServerProcess

from safelight.engine.generation import Generation
from tests.crashes.processes import Told, begin, ended
from tests.house import House, reconciling

DEADLY = "a deadly picture"


def die(generation: Generation) -> None:
    if generation.prompt == DEADLY:
        os.kill(os.getpid(), signal.SIGKILL)


@asynccontextmanager
async def worker_process(house: House, step_seconds: float = 0.0) -> AsyncIterator[ForkServerProcess]:
    """Ready to work; ended without mercy at the end."""
    settings = house.settings.model_copy(update={"stalled_seconds": 1.0, "worker_concurrency": 32})
    told = Told(house.settings.data_dir / f"told {secrets.token_hex(4)}")
    process = begin(settings, _work, told, step_seconds=step_seconds)
    try:
        async with asyncio.timeout(240):
            while not told.all():
                assert process.is_alive()
                await asyncio.sleep(0.02)
        yield process
    finally:
        process.kill()
        await ended(process)


async def _work(house: House, told: Told) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with reconciling(house):
        told.tell(ready=True)
        await house.worker.run(stop)
