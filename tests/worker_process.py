"""A worker in a process of its own, with a painter for an engine, to be killed and stopped by tests: URL, FOLDER, STEP SECONDS.

A request for ``DEADLY`` kills it, as a picture that makes a driver crash would.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from safelight.engine.generation import Generation
from safelight.settings import read_settings
from tests.house import Painter, open_house, reconciling

DEADLY = "a deadly picture"


def die(generation: Generation) -> None:
    if generation.prompt == DEADLY:
        os.kill(os.getpid(), signal.SIGKILL)


async def main(url: str, folder: str, step_seconds: str) -> None:
    settings = read_settings(
        data_dir=Path(folder),
        database_url=url,
        heartbeat_seconds=0.2,
        stalled_seconds=1.0,
        worker_concurrency=32,
    )
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    name = f"process {os.getpid()}"
    painter = Painter(float(step_seconds))
    painter.wrong = die
    async with open_house(settings, name=name, painter=painter) as house, reconciling(house):
        print("ready", flush=True)
        await house.worker.run(stop)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
