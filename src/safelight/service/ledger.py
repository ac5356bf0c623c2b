"""Accounts' money as double entry: a job's price is held in the transaction that accepts it and paid in the one in which it succeeds.

Every other end gives it back, so that through any crash a job is paid for once or not at all. Knows nothing of callers, and not
where money comes from. Amounts are whole millionths of the currency.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_CEILING, Decimal

from safelight.errors import NoCredit, NotFound, SetupFailed
from safelight.records import Account, JobRequest, Limits, Task
from safelight.settings import FREE_PLAN, Plan, Settings
from safelight.storage.database import Database, Row, Transaction

MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Wallet:
    """What can be spent, and what jobs that have not ended hold."""

    available: int = 0
    held: int = 0


@dataclass(frozen=True, slots=True)
class Membership:
    """The plan that an account has: since when, until when, and whether it will be renewed. Without ``id``, everybody's."""

    name: str
    plan: Plan
    id: int | None = None
    began_at: datetime | None = None
    ends_at: datetime | None = None
    cancelled: bool = False


@dataclass(frozen=True, slots=True)
class AccountRow:
    """An account as its operator sees it."""

    id: int
    name: str
    plan: str
    wallet: Wallet
    limits: Limits
    kept: int  # bytes
    keys: int  # that are not revoked
    operator: bool
    seen_at: datetime | None


class Ledger:
    """What accounts have, and what their operator gives them."""

    def __init__(self, settings: Settings, database: Database) -> None:
        _check(settings)
        self._settings, self._database = settings, database

    async def wallet(self, account: Account) -> Wallet:
        row = await self._database.one("ledger.balance", account=account.id)
        return Wallet(**row) if row else Wallet()

    async def membership(self, account: Account) -> Membership:
        async with self._database.transaction() as tx:
            return await membership(tx, self._settings, account.id)

    async def calls(self, account: Account) -> int:
        """How many of this month's included calls are used."""
        async with self._database.transaction() as tx:
            return await _calls(tx, account.id)

    async def accounts(self, named: str = "", *, after: int = 0, limit: int | None = None) -> list[AccountRow]:
        """In whose name those words are, from the one after that id."""
        rows = await self._database.all("ledger.accounts", named=named, after=after, limit=limit)
        return [_account_row(row) for row in rows]

    async def credit(self, name: str, amount: Decimal, note: str = "") -> Wallet:
        """Money that came in some other way, or with a minus goes out. Raises NotFound, or NoCredit where it is not there."""
        owner = await self._named(name)
        async with self._database.transaction() as tx:
            await move(tx, owner.id, f"deposit:{uuid.uuid4()}", in_millionths(amount), "paid in", note)
        return await self.wallet(owner)

    async def give_plan(self, name: str, plan: str) -> None:
        """Until it is given another; ends whatever plan it had. Raises NotFound for what is not an account or a plan."""
        owner = await self._named(name)
        if plan not in self._settings.plans:
            raise NotFound(f"There is no plan {plan}. The plans are: {', '.join(sorted(self._settings.plans))}.")
        async with self._database.transaction() as tx:
            await tx.one("ledger.wallet", account=owner.id)
            await tx.run("ledger.end_plans", account=owner.id)
            if plan != FREE_PLAN:
                await tx.run("ledger.give_plan", account=owner.id, plan=plan)

    async def _named(self, name: str) -> Account:
        row = await self._database.one("ledger.named", name=name)
        if row is None:
            raise NotFound(f"There is no account {name}.")
        return Account(row["id"], row["name"])


async def hold(tx: Transaction, settings: Settings, account: Account, job_id: int, request: JobRequest) -> None:
    """Part of the transaction that accepts a job. Raises NoCredit where the wallet does not hold its price."""
    if not settings.billing:
        return
    available = await lock(tx, account.id)
    included = (await membership(tx, settings, account.id)).plan.calls
    covered = included > 0 and await _calls(tx, account.id) < included
    amount = 0 if covered else price(settings, request)
    if amount > available:
        raise NoCredit
    await tx.run("ledger.hold", job=job_id, account=account.id, amount=amount, covered=covered)


async def refuse_empty(tx: Transaction, settings: Settings, account: Account, task: Task) -> None:
    """Before any work is done for a job that cannot be paid. What it costs exactly is known later, and held then."""
    if not settings.billing or not settings.prices.get(task.value):
        return
    included = (await membership(tx, settings, account.id)).plan.calls
    row = await tx.one("ledger.balance", account=account.id)
    empty = row is None or row["available"] <= 0
    if empty and not (included and await _calls(tx, account.id) < included):
        raise NoCredit


async def settle(tx: Transaction, job_ids: Sequence[int]) -> None:
    """Part of every transaction that ends jobs, also where billing was switched off since they were accepted."""
    await tx.run("ledger.settle", ids=list(job_ids))


async def queue_limit(tx: Transaction, settings: Settings, account: Account) -> int | None:
    """How many jobs the account's plan lets it have waiting or running; None where there are no plans."""
    if not settings.billing:
        return None
    return (await membership(tx, settings, account.id)).plan.queue


async def move(tx: Transaction, account_id: int, transfer: str, amount: int, other: str, note: str = "") -> bool:
    """Whether it was booked now: a transfer of that name is booked once. Raises NoCredit where the wallet would fall below nothing."""
    if await lock(tx, account_id) + amount < 0:
        raise NoCredit
    moved = await tx.run("ledger.move", transfer=transfer, account=account_id, amount=amount, other=other, note=note)
    return moved == 1


async def lock(tx: Transaction, account_id: int) -> int:
    """What the wallet holds, which nobody else changes until this transaction ends."""
    row = await tx.one("ledger.wallet", account=account_id)
    assert row is not None
    return int(row["available"])


def price(settings: Settings, request: JobRequest) -> int:
    per_million = settings.prices.get(request.task.value, Decimal(0))
    return in_millionths(Decimal(request.cost) * per_million / MILLION)


def in_millionths(amount: Decimal) -> int:
    return int((amount * MILLION).to_integral_value(ROUND_CEILING))


async def membership(tx: Transaction, settings: Settings, account_id: int) -> Membership:
    """A plan that the operator has since taken from the settings counts as none."""
    row = await tx.one("ledger.plan", account=account_id)
    if row is None or row["plan"] not in settings.plans:
        return Membership(FREE_PLAN, settings.plans[FREE_PLAN])
    plan, cancelled = settings.plans[row["plan"]], row["cancelled_at"] is not None
    return Membership(row["plan"], plan, row["id"], row["began_at"], row["ends_at"], cancelled)


async def _calls(tx: Transaction, account_id: int) -> int:
    row = await tx.one("ledger.covered", account=account_id)
    assert row is not None
    return int(row["calls"])


def _account_row(row: Row) -> AccountRow:
    wallet, limits = Wallet(row["available"], row["held"]), Limits(row["most_jobs"], row["most_bytes"])
    return AccountRow(
        row["id"], row["name"], row["plan"] or FREE_PLAN, wallet, limits, row["kept"], row["keys"], row["operator"], row["seen_at"]
    )  # fmt: skip


def _check(settings: Settings) -> None:
    """A price under a name that no task has would be a task for nothing."""
    known = [task.value for task in Task]
    if wrong := sorted(settings.prices.keys() - set(known)):
        raise SetupFailed(f"Setting prices names the task {wrong[0]!r}. The tasks are: {', '.join(known)}.")
