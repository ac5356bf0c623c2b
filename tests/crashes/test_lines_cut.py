"""The line to PostgreSQL is cut when a COMMIT has been sent and before its answer comes, so that nobody here knows whether it was made:
by a proxy on loopback that reads the protocol, and hangs up once the server has answered. And all lines are cut again and again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from safelight.cancelling import cancel
from safelight.errors import Unavailable
from safelight.records import Job, JobState
from safelight.service.once import once_for
from safelight.settings import Settings
from tests.house import a_bitmap, open_house
from tests.invariants import check_invariants
from tests.service.rows import count
from tests.service.test_every_failure import Fault, live, nothing_left, rescuing

pytestmark = pytest.mark.anyio
COMMIT = b"COMMIT\x00"


class Cutter:
    """Passes everything on, but the answer to the COMMIT that is due to fail: there it hangs up."""

    def __init__(self, target: str) -> None:
        self._target, self.fault = target, Fault()
        self.lines: set[asyncio.Task[None]] = set()

    async def meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = asyncio.current_task()
        assert line is not None
        self.lines.add(line)
        there, back = await asyncio.open_unix_connection(self._target)
        cut = asyncio.Event()
        answers = asyncio.create_task(self._answers(there, writer, cut))
        try:
            while data := await reader.read(65_536):
                if COMMIT in data and self.fault.due():
                    cut.set()
                back.write(data)
                await back.drain()
        except ConnectionError:
            pass
        finally:
            back.close()
            await answers

    async def _answers(self, there: asyncio.StreamReader, writer: asyncio.StreamWriter, cut: asyncio.Event) -> None:
        try:
            while (data := await there.read(65_536)) and not cut.is_set():
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()


@asynccontextmanager
async def cut_off(settings: Settings) -> AsyncIterator[tuple[Settings, Cutter]]:
    """The same database, by a line that can be cut."""
    assert settings.database_url
    address = conninfo_to_dict(settings.database_url)
    cutter = Cutter(f"{address['host']}/.s.PGSQL.{address.get('port', 5432)}")
    server = await asyncio.start_server(cutter.meet, "127.0.0.1", 0)
    url = make_conninfo(
        settings.database_url, host="127.0.0.1", port=server.sockets[0].getsockname()[1], sslmode="disable",
        gssencmode="disable",
    )  # fmt: skip
    try:
        yield settings.model_copy(update={"database_url": url}), cutter
    finally:
        server.close()
        await asyncio.gather(*cutter.lines)


@pytest.mark.chaos
async def test_every_commit_may_be_made_and_not_answered(settings: Settings) -> None:
    """A client that tries again, and a house that looks before it does anything twice: one job, one picture, one charge."""
    quick = settings.model_copy(update={"heartbeat_seconds": 0.1, "stalled_seconds": 0.8})
    async with cut_off(quick) as (through, cutter), open_house(through) as house:
        for nth in range(1, 400):
            cutter.fault.set(nth)
            job, receipt = await live(house, nth)
            reached = cutter.fault.calls >= nth
            cutter.fault.set(0)
            await nothing_left(house, job, receipt)
            assert await count(house, "jobs") == nth
            if not reached:
                break
    assert 15 < nth < 399


CUT_ALL = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"""


@pytest.mark.chaos
async def test_all_lines_are_cut_again_and_again(settings: Settings) -> None:
    """While jobs are sent and made, every second."""
    assert settings.database_url
    quick = settings.model_copy(update={"stalled_seconds": 5.0, "worker_concurrency": 32})
    async with (
        open_house(quick) as house,
        await psycopg.AsyncConnection.connect(settings.database_url, autocommit=True) as knife,
    ):

        async def cut() -> None:
            while True:
                await knife.execute(CUT_ALL)
                await asyncio.sleep(1.0)

        house.painter.step_seconds = 0.1
        cutting = asyncio.create_task(cut())
        async with house.working(), rescuing(house):
            marks = [once_for(f"number {number}".ljust(20), "the same") for number in range(30)]
            jobs = [await again_and_again(partial(house.submit, init=a_bitmap(), once=mark)) for mark in marks]
            await asyncio.sleep(5)
            await cancel(cutting)
            done = [await house.finished(job) for job in jobs]
        assert {(job.state, job.error) for job in done} == {(JobState.succeeded, None)}
        assert await count(house, "jobs") == await count(house, "usage") == 30
        await asyncio.sleep(quick.stalled_seconds)
        await house.rescue.stranded()
        await house.reconciler.keep_up(intent_seconds=0)
        await check_invariants(house.database, house.blobs)


async def again_and_again(ask: Callable[[], Awaitable[Job]]) -> Job:
    while True:
        with suppress(Unavailable):
            return await ask()
        await asyncio.sleep(0.05)
