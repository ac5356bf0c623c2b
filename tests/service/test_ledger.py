"""The ledger: what jobs hold, pay and get back, whatever becomes of the transactions in which they do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import suppress
from decimal import Decimal
from itertools import count as counting
from typing import Any, ClassVar

import psycopg
import pytest
from hypothesis import HealthCheck
from hypothesis import settings as effort
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule, run_state_machine_as_test

from safelight.errors import EngineFailed, NoCredit, NotFound, OverQuota, SetupFailed, Unavailable
from safelight.records import Account, JobState, Operation
from safelight.service.ledger import Ledger, Wallet, hold, in_millionths, move, price, settle
from safelight.settings import Plan, Settings
from safelight.storage.database import Database, Transaction
from tests.house import House, a_request, open_house
from tests.invariants import check_invariants
from tests.service.rows import rows

pytestmark = pytest.mark.anyio
BOOKS = """
    SELECT coalesce(sum(amount), 0) AS whole,
        coalesce(sum(amount) FILTER (WHERE book = 'sales'), 0) AS sales FROM entries"""


@pytest.fixture
async def shop(settings: Settings) -> AsyncIterator[House]:
    """A house where a request as ``a_request`` makes it costs 0.065536."""
    sold = {
        "prices": {"generate": Decimal(2)},
        "billing": True,
        "plans": {**settings.plans, "basic": Plan(queue=2, calls=2)},
    }
    async with open_house(settings.model_copy(update=sold)) as made:
        yield made


PRICE = 65_536  # millionths: 64 x 64 pixels, 2 rows, 4 steps, 2 a million


async def wallet(house: House) -> Wallet:
    return await house.services.ledger.wallet(house.account)


async def test_a_job_holds_its_price_and_pays_it_when_it_succeeds(shop: House) -> None:
    assert await shop.services.ledger.credit("tester", Decimal("0.2"), "by hand") == Wallet(200_000)
    job = await shop.submit()
    assert await wallet(shop) == Wallet(200_000 - PRICE, PRICE)
    async with shop.working():
        await shop.finished(job)
    assert await wallet(shop) == Wallet(200_000 - PRICE, 0)
    assert await rows(shop, BOOKS) == [{"whole": 0, "sales": PRICE}]
    await check_invariants(shop.database, shop.blobs)


async def test_what_fails_or_is_erased_costs_nothing(shop: House) -> None:
    await shop.services.ledger.credit("tester", Decimal(1))
    shop.painter.wrong = lambda generation: EngineFailed("no")
    erased = await shop.submit()
    await shop.services.erasure.delete(shop.account, [erased.id])
    async with shop.working():
        failed = await shop.finished(await shop.submit())
    assert failed.state is JobState.failed
    await shop.services.erasure.delete(shop.account, [failed.id])
    assert await wallet(shop) == Wallet(1_000_000, 0)
    assert await rows(shop, BOOKS) == [{"whole": 0, "sales": 0}]


async def test_what_was_paid_stays_paid_when_it_is_erased(shop: House) -> None:
    await shop.services.ledger.credit("tester", Decimal(1))
    async with shop.working():
        job = await shop.finished(await shop.submit())
    await shop.services.erasure.delete(shop.account, [job.id])
    assert await wallet(shop) == Wallet(1_000_000 - PRICE, 0)


async def test_a_job_that_took_its_workers_along_costs_nothing(shop: House) -> None:
    await shop.services.ledger.credit("tester", Decimal(1))
    job = await shop.submit()
    async with shop.database.pool.connection() as connection:
        await connection.execute(
            "UPDATE jobs SET state = 'running', deaths = 9, worker = 'dead', begun = true, fence = 1, attempt = 1"
        )
    await shop.rescue.bury("dead", crashed=True)
    assert (await shop.services.jobs.get(shop.account, job.id)).state is JobState.failed
    assert await wallet(shop) == Wallet(1_000_000, 0)


async def test_an_empty_wallet_is_refused_and_leaves_nothing(shop: House) -> None:
    with pytest.raises(NoCredit):
        await shop.submit()
    await shop.services.ledger.credit("tester", Decimal("0.1"))
    answers = await asyncio.gather(*(shop.submit() for _ in range(4)), return_exceptions=True)
    assert sorted(type(answer).__name__ for answer in answers) == ["Job", "NoCredit", "NoCredit", "NoCredit"]
    assert await rows(shop, "SELECT count(*) AS jobs FROM jobs") == [{"jobs": 1}]
    assert await wallet(shop) == Wallet(100_000 - PRICE, PRICE)
    await check_invariants(shop.database, shop.blobs)


async def test_a_plan_includes_calls_and_has_its_own_queue(shop: House) -> None:
    await shop.services.ledger.give_plan("tester", "basic")
    jobs = [await shop.submit() for _ in range(2)]
    with pytest.raises(OverQuota, match="Maximum 2 queued") as refused:
        await shop.submit()
    assert refused.value.limit == 2
    await shop.services.erasure.delete(shop.account, [jobs[0].id])
    await shop.submit()  # what was given back can be used again
    await shop.services.erasure.delete(shop.account, [jobs[1].id])
    async with shop.working():
        await shop.finished(await shop.submit())
    with pytest.raises(NoCredit):
        await shop.submit()
    assert await shop.services.ledger.calls(shop.account) == 2
    await shop.services.ledger.give_plan("tester", "pay_as_you_go")
    assert (await shop.services.ledger.membership(shop.account)).plan.queue == 5


async def test_only_what_exists_is_credited_or_planned(shop: House) -> None:
    ledger = shop.services.ledger
    for work in (
        ledger.credit("nobody", Decimal(1)),
        ledger.give_plan("nobody", "basic"),
        ledger.give_plan("tester", "x"),
    ):
        with pytest.raises(NotFound):
            await work
    with pytest.raises(NoCredit):
        await ledger.credit("tester", Decimal(-1))
    assert [(row.name, row.plan, row.wallet) for row in await ledger.accounts()] == [
        ("tester", "pay_as_you_go", Wallet())
    ]


async def test_without_billing_nothing_is_held(house: House) -> None:
    await house.submit()
    assert await rows(house, "SELECT FROM holds") == await rows(house, "SELECT FROM entries") == []


def test_prices_are_rounded_up_and_of_tasks_that_exist(settings: Settings) -> None:
    request = a_request(operation=Operation.text2img)
    assert price(settings.model_copy(update={"prices": {"generate": Decimal("0.0001")}}), request) == 4
    assert price(settings, request) == 0
    assert in_millionths(Decimal("0.0000001")) == 1
    with pytest.raises(SetupFailed, match="'genrate'"):
        Ledger(settings.model_copy(update={"prices": {"genrate": Decimal(1)}}), Database("postgresql://x/x"))


async def test_the_database_itself_refuses_what_does_not_add_up(house: House) -> None:
    one = f"INSERT INTO entries (transfer, account_id, book, amount) VALUES ('x', {house.account.id}, 'wallet', 1)"
    for wrong in (one, "UPDATE entries SET amount = 0", "DELETE FROM entries"):
        with pytest.raises(psycopg.errors.RaiseException):
            await rows(house, wrong)


class Books(RuleBasedStateMachine):
    """Jobs of one account are accepted and ended, by transactions that are committed, refused, or cut off at any moment."""

    runner: ClassVar[asyncio.Runner]
    database: ClassVar[Database]
    settings: ClassVar[Settings]
    numbers: ClassVar[Iterator[int]] = counting(10)
    jobs = Bundle("jobs")

    def __init__(self) -> None:
        super().__init__()
        row = self.run(self.database.one("accounts.ensure", name=f"a{next(self.numbers)}", secret=b"x"))
        self.account = Account(row["id"], row["name"])
        self.available, self.held, self.sold = 0, {}, 0  # type: int, dict[int, int], int

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    @rule(amount=st.integers(1, 300_000), again=st.booleans(), killed=st.booleans())
    def deposit(self, amount: int, again: bool, killed: bool) -> None:
        transfer = f"deposit:{next(self.numbers)}"
        for _ in range(2 if again else 1):
            self.run(self._transaction(lambda tx: move(tx, self.account.id, transfer, amount, "paid in"), killed))
        self.available += 0 if killed else amount

    @rule(target=jobs, steps=st.integers(1, 9), killed=st.booleans())
    def accept(self, steps: int, killed: bool) -> int:
        request, job_id = a_request(steps=steps), next(self.numbers)

        async def work(tx: Transaction) -> None:
            await tx.run(
                "jobs.accept", id=job_id, account=self.account.id, key=None, file_prefix=str(job_id), rank=0, task="generate",
                lives=None, unstored=False, cost=request.cost, steps=steps, files=1, tells=False,
            )  # fmt: skip
            await hold(tx, self.settings, self.account, job_id, request)

        amount = price(self.settings, request)
        try:
            self.run(self._transaction(work, killed))
        except NoCredit:
            assert amount > self.available
        else:
            if not killed:
                self.available -= amount
                self.held[job_id] = amount
        return job_id

    @rule(job=jobs, state=st.sampled_from(["succeeded", "failed", "cancelled", "running"]), killed=st.booleans())
    def end(self, job: int, state: str, killed: bool) -> None:
        """Also one that has ended already, as a worker does that comes back from the dead."""
        self.run(self._transaction(lambda tx: self._end(tx, job, state), killed))
        if killed or state == "running" or job not in self.held:
            return
        amount = self.held.pop(job)
        self.available, self.sold = (
            (self.available, self.sold + amount) if state == "succeeded" else (self.available + amount, self.sold)
        )

    @rule(job=consumes(jobs))
    def end_twice_at_once(self, job: int) -> None:
        async def both() -> None:
            ends = ("succeeded", "failed")
            await asyncio.gather(*(self._transaction(lambda tx, s=s: self._end(tx, job, s), False) for s in ends))

        self.run(both())
        amount = self.held.pop(job, 0)
        won = amount and self.run(self._state(job)) == "succeeded"
        self.available, self.sold = (
            (self.available, self.sold + amount) if won else (self.available + amount, self.sold)
        )

    @invariant()
    def the_books_agree(self) -> None:
        found = self.run(self.database.one("ledger.balance", account=self.account.id)) or {"available": 0, "held": 0}
        assert found == {"available": self.available, "held": sum(self.held.values())}
        assert self.run(self._sums()) == (0, self.available, sum(self.held.values()), self.sold)

    async def _transaction(self, work: Any, killed: bool) -> None:
        with suppress(*[Unavailable] if killed else []):
            async with self.database.transaction() as tx:
                await work(tx)
                if killed:
                    await tx.connection.close()
                    raise Unavailable

    async def _end(self, tx: Transaction, job: int, state: str) -> None:
        await tx.connection.execute(
            "UPDATE jobs SET state = %s WHERE id = %s AND state IN ('queued', 'running')", (state, job)
        )
        await settle(tx, [job])

    async def _state(self, job: int) -> str:
        async with self.database.pool.connection() as connection:
            row = await (await connection.execute("SELECT state FROM jobs WHERE id = %s", (job,))).fetchone()
        assert row
        return str(row["state"])

    async def _sums(self) -> tuple[int, ...]:
        books = ", ".join(
            f"coalesce(sum(amount) FILTER (WHERE book = '{name}'), 0)::bigint AS {name}"
            for name in ("wallet", "held", "sales")
        )
        query = f"SELECT coalesce(sum(amount), 0)::bigint AS whole, {books} FROM entries WHERE account_id = %s"
        async with self.database.pool.connection() as connection:
            row = await (await connection.execute(query.encode(), (self.account.id,))).fetchone()
        assert row
        return tuple(row.values())


def test_no_order_of_events_charges_twice_or_loses_money(settings: Settings) -> None:
    assert settings.database_url
    Books.settings = settings.model_copy(update={"billing": True, "prices": {"generate": Decimal(2)}})
    with asyncio.Runner() as Books.runner:
        Books.database = Books.runner.run(_opened(settings.database_url))
        try:
            run_state_machine_as_test(
                Books,
                settings=effort(
                    max_examples=12, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
                ),
            )
        finally:
            Books.runner.run(Books.database.close())


async def _opened(url: str) -> Database:
    database = Database(url)
    await database.open()
    return database
