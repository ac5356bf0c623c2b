"""A worker in a process of its own, with a painter for an engine, to be killed and stopped by tests: URL, FOLDER, STEP SECONDS."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from safelight.settings import read_settings
from tests.house import Painter, open_house, reconciling


async def main(url: str, folder: str, step_seconds: str) -> None:
    settings = read_settings(
        data_dir=Path(folder),
        database_url=url,
        heartbeat_seconds=0.2,
        stalled_seconds=1.0,
        worker_concurrency=4,
        max_attempts=10,
    )
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    name = f"process {os.getpid()}"
    async with open_house(settings, name=name, painter=Painter(float(step_seconds))) as house, reconciling(house):
        print("ready", flush=True)
        await house.worker.run(stop)


asyncio.run(main(*sys.argv[1:]))
