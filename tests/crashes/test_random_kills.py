"""Thirty jobs on board, and their worker killed at random moments, up to six times in a row: no job fails, none is paid for twice, and
nothing is left over. One round is in the default suite; ``scripts/test --all`` does a hundred.

A death is blamed on the jobs that were on board, and one that is alone with it twice fails, as it must: a killer who went on would
find it. So the killer spares a worker that is alone with a job which was alone with a killed worker before.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from decimal import Decimal
from multiprocessing.context import ForkServerProcess

import pytest

from safelight.records import JobState
from safelight.service.ledger import Wallet
from safelight.settings import FREE_PLAN, Plan, Settings
from tests.crashes.lives import tidied
from tests.crashes.processes import Told, begin, ended, name_of
from tests.house import House, a_bitmap, a_request, open_house
from tests.invariants import check_invariants
from tests.service.rows import count, rows

pytestmark = pytest.mark.anyio
ABOARD = 30
MOST_KILLS = 6
PRICE = 65_536  # millionths: 64 x 64 pixels, 2 rows, 4 steps, 2 a million
GIVEN = 10_000_000_000
UNFINISHED = "jobs WHERE state IN ('queued', 'running')"
BEGUN = "jobs WHERE state = 'running' AND begun AND worker = '{}'"
CONDEMNED = "jobs WHERE state = 'running' AND begun AND deaths > 0"
BUSY = """
    SELECT count(*) AS n FROM pg_stat_activity
    WHERE datname = current_database() AND state = 'active' AND wait_event_type IS DISTINCT FROM 'Lock' AND pid <> pg_backend_pid()"""


@pytest.fixture
async def market(settings: Settings) -> AsyncIterator[House]:
    """A house where every picture costs something."""
    given = {
        "billing": True, "prices": {"generate": Decimal(2)}, "plans": {**settings.plans, FREE_PLAN: Plan(queue=100)},
        "worker_concurrency": 32, "stalled_seconds": 20.0, "heartbeat_seconds": 0.5,
    }  # fmt: skip
    async with open_house(settings.model_copy(update=given)) as house:
        await house.services.ledger.credit("tester", Decimal(GIVEN) / 1_000_000)
        yield house


async def work(house: House, told: Told) -> None:
    """Until it is killed."""
    await house.worker.run(asyncio.Event())


class Killer:
    """Kills worker after worker, and does what a supervisor does who sees them die."""

    def __init__(self, house: House, luck: random.Random) -> None:
        self._house, self._luck = house, luck
        self.aboard: list[int] = []  # how many jobs had begun, for each kill

    async def strike(self) -> None:
        process = begin(
            self._house.settings, work, Told(self._house.settings.data_dir / "told"),
            step_seconds=self._luck.choice((0.0, 0.02, 0.1)),
        )  # fmt: skip
        pid = process.pid
        assert pid is not None
        if self._luck.random() < 0.8:
            while await count(self._house, UNFINISHED) and not await count(self._house, BEGUN.format(name_of(pid))):
                await asyncio.sleep(0.01)
        await asyncio.sleep(self._luck.uniform(0.0, 0.5))
        await self._halted(process, pid)
        self.aboard.append(await count(self._house, "jobs WHERE state = 'running' AND begun"))
        os.kill(pid, signal.SIGKILL)
        assert await ended(process) == -signal.SIGKILL
        await self._house.rescue.bury(name_of(pid), crashed=True)

    async def _halted(self, process: ForkServerProcess, pid: int) -> None:
        """It stands still, and what it asked of the database has been done."""
        while True:
            os.kill(pid, signal.SIGSTOP)
            await asyncio.sleep(0.02)
            while (await rows(self._house, BUSY))[0]["n"]:
                await asyncio.sleep(0.01)
            if not await count(self._house, CONDEMNED):
                return
            os.kill(pid, signal.SIGCONT)
            await asyncio.sleep(0.1)


async def a_round(house: House, number: int, most: int) -> list[int]:
    """How many jobs were on board at each kill."""
    luck = random.Random(f"round {number}")
    init = a_bitmap()
    jobs = [await house.submit(a_request(seed=seed), init=init if seed % 3 == 0 else None) for seed in range(ABOARD)]
    killer = Killer(house, luck)
    for _ in range(luck.randint(1, most)):
        await killer.strike()
    async with house.working():
        done = [await house.finished(job) for job in jobs]
    assert Counter(job.state for job in done) == {JobState.succeeded: ABOARD}
    assert {job.error for job in done} == {None}
    await tidied(house)
    await check_invariants(house.database, house.blobs)
    await charged_once(house, [job.id for job in jobs], number)
    await house.services.erasure.delete_many(house.account, [job.id for job in jobs])
    return killer.aboard


async def charged_once(house: House, ids: list[int], number: int) -> None:
    listed = ",".join(map(str, ids))
    assert await count(house, f"usage WHERE job_id IN ({listed})") == ABOARD
    (books,) = await rows(
        house,
        "SELECT sum(amount)::bigint AS whole, sum(amount) FILTER (WHERE book = 'sales')::bigint AS sales FROM entries",
    )
    paid = await count(house, "usage") * PRICE
    assert books == {"whole": 0, "sales": paid}
    assert await house.services.ledger.wallet(house.account) == Wallet(GIVEN - paid, 0)


async def rounds(house: House, how_many: int, most: int = MOST_KILLS) -> list[int]:
    aboard: list[int] = []
    for number in range(how_many):
        aboard += await a_round(house, number, most)
    await tidied(house)
    assert await house.blobs.keys() == set()
    await check_invariants(house.database, house.blobs)
    return aboard


async def test_a_round_of_random_kills(market: House) -> None:
    assert await rounds(market, 1, most=2)


@pytest.mark.chaos
async def test_a_hundred_rounds_of_random_kills(market: House) -> None:
    began = time.monotonic()
    aboard = await rounds(market, 100)
    print(
        f"100 rounds of {ABOARD} jobs, {len(aboard)} kills, {sum(each > 0 for each in aboard)} of them with jobs begun, "
        f"{sum(aboard)} in all; no job failed or was paid for twice: {time.monotonic() - began:.0f} s"
    )
