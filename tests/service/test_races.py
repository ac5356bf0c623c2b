"""Submitting, making, reading, deleting and sending again, in any order and at the same time, against a model that a dictionary holds."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack
from itertools import count as counting
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase
from hypothesis import settings as effort
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from safelight.errors import NotFound
from safelight.records import Account, Job, JobState, Receipt
from safelight.service.once import once_for
from safelight.settings import Settings
from tests.house import House, a_request, open_house
from tests.invariants import check_invariants


class Races(RuleBasedStateMachine):
    """One account with a worker that runs only when told, and a stranger. ``standing`` and ``erased`` are the model."""

    runner: ClassVar[asyncio.Runner]
    house: ClassVar[House]
    numbers: ClassVar[Iterator[int]] = counting()
    jobs = Bundle("jobs")

    @initialize()
    def move_in(self) -> None:
        accounts, number = self.house.services.accounts, next(self.numbers)
        self.mine: Account = self.run(accounts.create_account(f"mine{number}"))
        self.stranger: Account = self.run(accounts.create_account(f"stranger{number}"))
        self.marks: dict[int, str] = {}
        self.standing: set[int] = set()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    @rule(target=jobs, callers=st.integers(1, 4))
    def submit(self, callers: int) -> int:
        """However many send it at once under one mark, it is one job."""
        mark = f"mark{next(self.numbers)}"
        made = self.run(_together(*(self._submit(mark) for _ in range(callers))))
        assert len({job.id for job in made}) == 1
        self.marks[made[0].id] = mark
        self.standing.add(made[0].id)
        return int(made[0].id)

    @rule(job=jobs)
    def send_again(self, job: int) -> None:
        """What was deleted does not come back."""
        if job in self.standing:
            assert self.run(self._submit(self.marks[job])).id == job
            return
        with pytest.raises(NotFound):
            self.run(self._submit(self.marks[job]))

    @rule()
    def make(self) -> None:
        self.run(self._made(self.standing))

    @rule(some=st.lists(jobs, min_size=1, max_size=3, unique=True), callers=st.integers(1, 5))
    def delete(self, some: list[int], callers: int) -> None:
        """Any number at once, of what waits, is ready or is gone already."""
        receipts = self.run(_together(*(self._delete(self.mine, some) for _ in range(callers))))
        self._gone(some, receipts)

    @rule(some=st.lists(jobs, min_size=1, max_size=2, unique=True))
    def delete_in_the_making(self, some: list[int]) -> None:
        kept = self.standing - set(some)
        receipt, _ = self.run(_together(self._delete(self.mine, some), self._made(kept)))
        self._gone(some, [receipt])

    @rule(job=jobs)
    def read_while_it_is_deleted(self, job: int) -> None:
        """The whole picture or none."""
        found = self.run(_together(self._read(job), self._delete(self.mine, [job]), self._read(job)))
        assert all(each is None or each.endswith(b"IEND\xaeB`\x82") for each in (found[0], found[2]))
        self._gone([job], [found[1]])
        assert self.run(self._read(job)) is None

    @rule(job=jobs)
    def a_stranger_finds_nothing(self, job: int) -> None:
        for work in (self._delete(self.stranger, [job]), self.house.services.jobs.get(self.stranger, job)):
            with pytest.raises(NotFound):
                self.run(work)

    @rule(by=st.sampled_from(["mine", "stranger"]))
    def clear_the_cache_beside_the_reconciler(self, by: str) -> None:
        clearing = self.house.services.erasure.clear_cache(getattr(self, by))
        self.run(_together(clearing, self.house.reconciler.keep_up()))

    @invariant()
    def what_stands_is_there_and_what_is_gone_is_not(self) -> None:
        for job in self.marks:
            assert self.run(self._there(job)) == (job in self.standing)

    def teardown(self) -> None:
        self.run(self._made(self.standing))
        self.run(self.house.reconciler.keep_up(intent_seconds=0))
        self.run(check_invariants(self.house.database, self.house.blobs))

    def _gone(self, some: list[int], receipts: list[Receipt]) -> None:
        """One receipt, unless some of it had one before."""
        fresh = set(some) & self.standing
        self.standing -= fresh
        assert len({receipt.id for receipt in receipts}) == 1 or fresh != set(some)

    async def _submit(self, mark: str) -> Job:
        return await self.house.services.jobs.submit(
            self.mine, a_request(), {}, once=once_for(mark, "the same")
        )  # fmt: skip

    async def _delete(self, account: Account, ids: list[int]) -> Receipt:
        return await self.house.services.erasure.delete(account, ids)

    async def _made(self, jobs: set[int]) -> None:
        async with self.house.working():
            ended = [await self.house.services.jobs.wait(self.mine, job, 60) for job in jobs]
        assert {job.state for job in ended} <= {JobState.succeeded}

    async def _read(self, job: int) -> bytes | None:
        assets, jobs = self.house.services.assets, self.house.services.jobs
        try:
            names = assets.output_names(await jobs.get(self.mine, job))
            return (await assets.open(names[0]))[1] if names else None
        except NotFound:
            return None

    async def _there(self, job: int) -> bool:
        try:
            return (await self.house.services.jobs.get(self.mine, job)).erased_at is None
        except NotFound:
            return False


async def _together(*works: Coroutine[Any, Any, Any]) -> list[Any]:
    return await asyncio.gather(*works)


def test_no_order_of_events_brings_anything_back(settings: Settings) -> None:
    with asyncio.Runner() as Races.runner:
        open_ = AsyncExitStack()
        Races.house = Races.runner.run(open_.enter_async_context(open_house(settings)))
        try:
            run_state_machine_as_test(
                Races,
                settings=effort(
                    max_examples=10,
                    stateful_step_count=16,
                    deadline=None,
                    phases=[Phase.generate],
                    suppress_health_check=list(HealthCheck),
                ),
            )
        finally:
            Races.runner.run(open_.aclose())
