"""Keeps worker processes alive beside the HTTP server: starts them, restarts a dead one with backoff, drains them at the end.

A worker runs in a session of its own, so that Ctrl-C reaches only the server, and holds a pipe from it: when the server
is gone, however it went, the pipe closes and the worker drains itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog

log = structlog.get_logger(__name__)

FIRST_PAUSE, LONGEST_PAUSE, HEALTHY = 0.5, 30.0, 60.0  # seconds


@dataclass(frozen=True)
class Supervisor:
    """``count`` processes of ``safelight worker`` with the given environment."""

    count: int
    environment: Mapping[str, str]
    drain_seconds: float = 60.0

    async def run(self, stop: asyncio.Event) -> None:
        """Returns once ``stop`` is set and every worker has ended."""
        async with asyncio.TaskGroup() as group:
            for number in range(self.count):
                group.create_task(self._keep_alive(number, stop))

    async def _keep_alive(self, number: int, stop: asyncio.Event) -> None:
        pause = FIRST_PAUSE
        while not stop.is_set():
            began = time.monotonic()
            code = await self._run_once(stop)
            if stop.is_set():
                return
            pause = FIRST_PAUSE if time.monotonic() - began > HEALTHY else min(pause * 2, LONGEST_PAUSE)
            log.error("worker ended by itself; starting another", worker=number, exit_code=code, pause_seconds=pause)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), pause)

    async def _run_once(self, stop: asyncio.Event) -> int:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "safelight", "worker", "--tethered",
            env=dict(self.environment), stdin=asyncio.subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        log.info("worker started", pid=process.pid)
        ended, stopped = asyncio.ensure_future(process.wait()), asyncio.ensure_future(stop.wait())
        await asyncio.wait({ended, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if not ended.done():
            await self._drain(process)
        return await ended

    async def _drain(self, process: asyncio.subprocess.Process) -> None:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), self.drain_seconds)
            return
        log.error("worker did not drain in time; it is ended", pid=process.pid, seconds=self.drain_seconds)
        process.kill()


def when_untethered(call: Callable[[], object]) -> None:
    """Calls back once, from a thread, when the pipe that the supervisor holds at our standard input closes."""

    def wait() -> None:
        while os.read(0, 1024):
            pass
        call()

    threading.Thread(target=wait, name="tether", daemon=True).start()
