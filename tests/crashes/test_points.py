"""A process is killed at each point there is (`points.py`), those that put it right are killed too, twice, and then the client comes back.

What was accepted has ended, what was deleted is gone for good, every job was paid for once, and the books and the store are in order.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal

import pytest
from pydantic import SecretStr

from safelight.errors import NotFound
from safelight.settings import FREE_PLAN, Plan, Settings
from tests.crashes.lives import (
    CHARGED,
    LIVES,
    at_work,
    erase_many,
    grow_old,
    make_and_delete,
    seal_what_is_old,
    tidied,
)
from tests.crashes.points import ANY, BEFORE, HALF_A_LINE, POINTS
from tests.crashes.processes import Life, Told, begin, ended
from tests.house import House, open_house
from tests.invariants import check_invariants
from tests.service.receiver import answer, receiver
from tests.service.rows import count, rows

pytestmark = pytest.mark.anyio
PRICE = 65_536  # millionths: 64 x 64 pixels, 2 rows, 4 steps, 2 a million
GIVEN = 1_000_000_000
PLACE, MONTH = 1_000_000, 2_000_000  # what a place for a model and a month of a plan cost
MOST_OF_ONE = 2  # passes of one point that are tried in one life
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PREPARED: dict[Life, Callable[[House], Awaitable[None]]] = {seal_what_is_old: grow_old}


@dataclass(frozen=True)
class Ground:
    """Where the processes live: a house of the test's own looks at what they leave."""

    settings: Settings
    house: House
    webhooks: Counter[str]

    async def trial(self, life: Life, point: str = "", nth: int = 1) -> tuple[bool, Counter[str]]:
        """Whether it came to the kill, and what the last process passed."""
        if life in PREPARED:
            await PREPARED[life](self.house)
        told = Told(self.settings.data_dir / f"trial {secrets.token_hex(4)}")
        died = await self._dies(life, told, point, nth)
        luck = random.Random(f"{point} {nth}")
        for _ in range(2 if died else 0):
            await self._dies(life, told, ANY, luck.randint(1, 12))
        if died:
            assert not await self._dies(life, told)
        await self._judge(told)
        return died, Counter(told.all()[-1]["passed"])

    async def _dies(self, life: Life, told: Told, point: str = "", nth: int = 1) -> bool:
        code = await ended(begin(self.settings, life, told, deadly=point, nth=nth))
        assert code in (0, -9), f"{life.__name__} at {point}"
        return code != 0

    async def _judge(self, told: Told) -> None:
        async with at_work(self.house):
            while await count(self.house, "jobs WHERE state IN ('queued', 'running')"):
                await asyncio.sleep(0.05)
        await tidied(self.house)
        for line in told.all():
            for each in (line.get("accepted"), *line.get("deleted", ())):
                await self._judge_job(each, told)
        assert await count(self.house, "receipts WHERE verified_at IS NULL") == 0
        await check_invariants(self.house.database, self.house.blobs)
        await self._judge_books()

    async def _judge_job(self, each: int | None, told: Told) -> None:
        if each is None:
            return
        deleted = {gone for line in told.all() for gone in line.get("deleted", ())}
        try:
            assert (await self.house.services.jobs.get(self.house.account, each)).state.final
            assert each not in deleted
        except NotFound:
            assert each in deleted or await count(self.house, f"receipts WHERE {each} = ANY (request_ids)")

    async def _judge_books(self) -> None:
        sums = await rows(
            self.house,
            "SELECT sum(amount)::bigint AS whole, sum(amount) FILTER (WHERE book = 'sales')::bigint AS sales FROM entries",
        )
        paid = await count(self.house, "usage WHERE pictures > 0") * PRICE + await self._bought()
        assert (sums[0]["whole"], sums[0]["sales"] or 0) == (0, paid)
        wallet = await self.house.services.ledger.wallet(self.house.account)
        charged = await count(self.house, "charges WHERE state = 'paid'") * CHARGED
        assert (wallet.available, wallet.held) == (GIVEN + charged - paid, 0)

    async def _bought(self) -> int:
        """For how much; of every charge, place and plan there is one for each life that bought them."""
        (places,) = await rows(self.house, "SELECT coalesce(sum(models), 0)::int AS bought FROM wallets")
        plans, charges = await count(self.house, "subscriptions"), await count(self.house, "charges")
        assert places["bought"] == plans == charges
        return plans * (PLACE + MONTH)


@pytest.fixture
async def ground(settings: Settings) -> AsyncIterator[Ground]:
    given = {
        "private_hosts": frozenset({"127.0.0.1"}), "billing": True, "prices": {"generate": Decimal(2)},
        "plans": {**settings.plans, FREE_PLAN: Plan(queue=100), "standard": Plan(queue=100, monthly=Decimal(2))},
        "model_price": Decimal(1), "charge_hook": "true", "charge_secret": SecretStr(SECRET),
        "heartbeat_seconds": 0.5, "stalled_seconds": 20.0,
    }  # fmt: skip
    seen: Counter[str] = Counter()

    async def behave(writer: asyncio.StreamWriter) -> None:
        """At first it does not want to know of failures."""
        last = here.received[-1]
        seen[last.headers["webhook-id"]] += 1
        early = b"failed" in last.body and seen[last.headers["webhook-id"]] == 1
        await answer(status=500 if early else 200)(writer)

    async with receiver(behave) as here, open_house(settings.model_copy(update=given)) as house:
        (settings.data_dir / "receiver").write_text(here.url)
        await house.services.ledger.credit("tester", Decimal(GIVEN) / 1_000_000)
        yield Ground(house.settings, house, seen)


async def test_some_points(ground: Ground) -> None:
    """The others are long."""
    for life, point in ((make_and_delete, BEFORE + "a job succeeds"), (erase_many, HALF_A_LINE)):
        died, _ = await ground.trial(life, point)
        assert died


@pytest.mark.chaos
@pytest.mark.parametrize("life", LIVES, ids=lambda life: life.__name__)
async def test_every_point_of_a_life(ground: Ground, life: Life) -> None:
    _, passes = await ground.trial(life)
    for point in POINTS:
        for nth in range(1, min(passes[point], MOST_OF_ONE) + 1):
            await ground.trial(life, point, nth)


@pytest.mark.chaos
async def test_every_point_is_passed_in_some_life(ground: Ground) -> None:
    passed: Counter[str] = Counter()
    for life in LIVES:
        passed += (await ground.trial(life))[1]
    assert [point for point in POINTS if not passed[point]] == []
