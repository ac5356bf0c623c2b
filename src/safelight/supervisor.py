"""Keeps worker processes alive beside the HTTP server: starts them, restarts a dead one with backoff, drains them at the end.

A worker runs in a session of its own, so that Ctrl-C reaches only the server, and holds a pipe from it: when the server
is gone, however it went, the pipe closes and the worker drains itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from safelight.errors import Unavailable

log = structlog.get_logger(__name__)

FIRST_PAUSE, LONGEST_PAUSE, HEALTHY = 0.5, 30.0, 60.0  # seconds


class Bury(Protocol):
    """Frees the jobs of a worker that has ended; how many there were."""

    async def __call__(self, worker: str, *, crashed: bool) -> int: ...


def worker_name(pid: int) -> str:
    return f"{socket.gethostname()}-{pid}"


@dataclass(frozen=True)
class Supervisor:
    """``count`` processes of ``safelight worker`` with the given environment, and what is to be done when one has ended.

    They have the devices in turn; where there are more of these, there are as many processes.
    """

    count: int
    environment: Mapping[str, str]
    bury: Bury
    words: Sequence[str] = ()
    drain_seconds: float = 60.0
    devices: Sequence[str] = ("auto",)

    @property
    def environments(self) -> list[dict[str, str]]:
        """One for each process."""
        numbers = range(max(self.count, len(self.devices)) if self.count else 0)
        return [
            {**self.environment, "SAFELIGHT_DEVICE": self.devices[number % len(self.devices)]} for number in numbers
        ]

    async def run(self, stop: asyncio.Event) -> None:
        """Returns once ``stop`` is set and every worker has ended."""
        async with asyncio.TaskGroup() as group:
            for number, environment in enumerate(self.environments):
                group.create_task(self._keep_alive(number, environment, stop))

    async def _keep_alive(self, number: int, environment: Mapping[str, str], stop: asyncio.Event) -> None:
        pause = FIRST_PAUSE
        while not stop.is_set():
            began = time.monotonic()
            pid, code = await self._run_once(environment, stop)
            freed = await self._free(pid, crashed=code != 0 and not stop.is_set())
            if stop.is_set():
                return
            well = freed > 0 or time.monotonic() - began > HEALTHY
            pause = FIRST_PAUSE if well else min(pause * 2, LONGEST_PAUSE)
            log.error("worker ended by itself; starting another", worker=number, exit_code=code, pause_seconds=pause)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await stop.wait()

    async def _free(self, pid: int, *, crashed: bool) -> int:
        """How many jobs it held. While the database is away nothing is freed: then their leases run out."""
        try:
            return await self.bury(worker_name(pid), crashed=crashed)
        except Unavailable:
            log.warning("the database does not answer; the jobs of an ended worker wait for their leases", pid=pid)
            return 0

    async def _run_once(self, environment: Mapping[str, str], stop: asyncio.Event) -> tuple[int, int]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "safelight", "worker", "--tethered", *self.words,
            env=environment, stdin=asyncio.subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        log.info("worker started", pid=process.pid)
        ended, stopped = asyncio.ensure_future(process.wait()), asyncio.ensure_future(stop.wait())
        await asyncio.wait({ended, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if not ended.done():
            await self._drain(process)
        return process.pid, await ended

    async def _drain(self, process: asyncio.subprocess.Process) -> None:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.drain_seconds):
                await process.wait()
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
