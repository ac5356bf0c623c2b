"""What accounts buy, and real money: charged once by whoever the operator names, whatever breaks off in between."""

from __future__ import annotations

import asyncio
import json
import sys
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from standardwebhooks import Webhook

from safelight.errors import Invalid, NoCredit, SetupFailed, Unauthorized, Unavailable
from safelight.service.ledger import Wallet
from safelight.service.payments import Payments
from safelight.service.shop import Shop
from safelight.settings import Plan, Settings, read_settings
from tests.house import House, open_house
from tests.invariants import check_invariants
from tests.service.receiver import answer, hang, receiver, reset
from tests.service.rows import rows

pytestmark = pytest.mark.anyio

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SOLD = {"standard": Plan(queue=10, monthly=Decimal(29), yearly=Decimal(290)), "premium": Plan(queue=15)}


@asynccontextmanager
async def shop(settings: Settings, hook: str | None = None, **more: Any) -> AsyncIterator[House]:
    given: dict[str, Any] = {
        "billing": True, "plans": settings.plans | SOLD, "model_price": Decimal("2.5"), "charge_hook": hook,
        "charge_secret": SecretStr(SECRET), "charge_seconds": 5.0,
    }  # fmt: skip
    async with open_house(settings.model_copy(update=given | more)) as house:
        yield house


async def balance(house: House) -> float:
    return (await house.services.ledger.wallet(house.account)).available / 1e6


async def deposits(house: House) -> list[int]:
    return [row["amount"] for row in await rows(house, "SELECT amount FROM entries WHERE book = 'paid in' ORDER BY id")]


async def test_a_plan_is_paid_from_the_wallet_and_comes_with_a_key(settings: Settings) -> None:
    async with shop(settings) as house:
        services = house.services
        with pytest.raises(NoCredit):
            await services.shop.buy_plan(house.account, "standard_monthly")
        await services.ledger.credit("tester", Decimal(400))
        first = await services.shop.buy_plan(house.account, "standard_yearly")
        await services.shop.buy_plan(house.account, "standard_monthly")
        assert await balance(house) == 400 - 290 - 29
        assert (await services.accounts.authenticate(first.secret)).id == house.account.id
        held = await services.ledger.membership(house.account)
        assert held.ends_at is not None
        assert held.began_at is not None
        assert (held.name, held.plan.queue, 28 <= (held.ends_at - held.began_at).days <= 31) == ("standard", 10, True)
        for name in ("premium_monthly", "gold_monthly", "standard", "_"):
            with pytest.raises(Invalid, match="plan_name must be one of: standard_monthly, standard_yearly"):
                await services.shop.buy_plan(house.account, name)
        await check_invariants(house.database, house.blobs)


async def test_a_plan_is_cancelled_by_its_key_and_lasts_as_long_as_it_is_paid(settings: Settings) -> None:
    async with shop(settings) as house:
        services = house.services
        await services.ledger.credit("tester", Decimal(29))
        bought = await services.shop.buy_plan(house.account, "standard_monthly")
        other = await services.accounts.create_account("other")
        own = (await services.accounts.create_key("tester"))[1]
        for account, key in ((other, bought.secret), (house.account, own), (house.account, "x"), (house.account, "")):
            with pytest.raises(Invalid, match="key_to_cancel is no key that you have bought"):
                await services.shop.cancel_plan(account, key)
        for _ in range(2):
            await services.shop.cancel_plan(house.account, bought.secret)
        with pytest.raises(Unauthorized):
            await services.accounts.authenticate(bought.secret)
        held = await services.ledger.membership(house.account)
        assert (held.name, held.cancelled) == ("standard", True)


async def test_a_purchase_that_is_sent_again_is_not_made_again(settings: Settings) -> None:
    async with shop(settings) as house:
        services = house.services
        await services.ledger.credit("tester", Decimal(100))
        made = await asyncio.gather(
            *(services.shop.buy_plan(house.account, "standard_monthly", "once") for _ in range(4)),
            return_exceptions=True,
        )
        assert sorted(type(one).__name__ for one in made) == ["Bought", "Invalid", "Invalid", "Invalid"]
        assert (await services.shop.buy_models(house.account, 4, "models")).ever == 4
        with pytest.raises(Invalid, match="Idempotency-Key"):
            await services.shop.buy_models(house.account, 4, "models")
        assert await balance(house) == 100 - 29 - 10


async def test_without_billing_a_plan_is_a_key_and_nothing_else(house: House) -> None:
    bought = await house.services.shop.buy_plan(house.account, "basic_monthly")
    assert (await house.services.accounts.authenticate(bought.secret)).id == house.account.id
    assert (await house.services.ledger.membership(house.account)).name == "pay_as_you_go"
    assert (await house.services.shop.buy_models(house.account, 4)).ever == 0
    await house.services.shop.cancel_plan(house.account, bought.secret)
    assert await rows(house, "SELECT FROM entries") == []


async def test_a_plan_is_renewed_from_the_wallet_or_ends(settings: Settings) -> None:
    async with shop(settings) as house:
        await house.services.ledger.credit("tester", Decimal(60))
        await house.services.shop.buy_plan(house.account, "standard_monthly")
        for left, cancelled in ((2, False), (2, True)):
            await _nearly_over(house)
            await asyncio.gather(*(house.services.shop.keep_up() for _ in range(3)))
            held = await house.services.ledger.membership(house.account)
            assert (await balance(house), held.cancelled) == (left, cancelled)
        assert await rows(house, "SELECT count(*) AS n FROM subscriptions") == [{"n": 1}]
        await check_invariants(house.database, house.blobs)


async def _nearly_over(house: House) -> None:
    async with house.database.pool.connection() as connection:
        await connection.execute("UPDATE subscriptions SET ends_at = now() + interval '1 minute'")


async def test_what_the_wallet_lacks_is_charged_and_signed(settings: Settings) -> None:
    async with receiver() as here, shop(settings, f"{here.url}/charge") as house:
        await house.services.ledger.credit("tester", Decimal("9.005"))
        await house.services.shop.buy_plan(house.account, "standard_monthly")
    (asked,) = here.received
    told = Webhook(SECRET).verify(asked.body, asked.headers)
    assert told["data"] == {
        "id": asked.headers["webhook-id"], "account": "tester", "amount": "20.00", "currency": "USD",
        "purpose": "standard_monthly",
    }  # fmt: skip
    assert asked.line == "POST /charge HTTP/1.1"


async def test_a_declined_payment_buys_nothing(settings: Settings) -> None:
    async with receiver(answer(status=402)) as here, shop(settings, here.url) as house:
        with pytest.raises(NoCredit, match="declined"):
            await house.services.shop.buy_plan(house.account, "standard_monthly")
        await house.services.shop.keep_up()
        assert (len(here.received), await deposits(house)) == (1, [])


@pytest.mark.parametrize("script", [(reset, answer()), (answer(status=500), answer()), (answer(status=302), answer())])
async def test_a_payment_of_unknown_outcome_is_asked_for_again_under_the_same_id(
    settings: Settings, script: tuple[Any, ...]
) -> None:
    async with receiver(*script) as here, shop(settings, here.url) as house:
        with pytest.raises(Unavailable, match="not known yet"):
            await house.services.shop.fund(house.account, 5_000_000, "k")
        assert await deposits(house) == []
        async with house.database.pool.connection() as connection:
            await connection.execute("UPDATE charges SET asked_at = now() - interval '1 hour'")
        await asyncio.gather(*(house.services.shop.keep_up() for _ in range(3)))
        await house.services.shop.fund(house.account, 5_000_000, "k")
        assert len({asked.headers["webhook-id"] for asked in here.received}) == 1
        assert (await deposits(house), await balance(house)) == ([-5_000_000], 5)


async def test_no_money_is_lost_or_taken_twice_by_breaking_off(settings: Settings) -> None:
    """The caller leaves at some moment of each of 30 payments; then everything is taken up again."""
    charged: dict[str, int] = {}

    async with receiver() as here, shop(settings, here.url) as house:
        for number in range(30):
            paying = asyncio.create_task(house.services.shop.fund(house.account, 1_000_000, f"pay {number}"))
            await asyncio.sleep(number * 0.002)
            paying.cancel()
            await asyncio.gather(paying, return_exceptions=True)
        for number in range(30):
            await house.services.shop.fund(house.account, 1_000_000, f"pay {number}")
        for asked in here.received:
            charged[asked.headers["webhook-id"]] = charged.get(asked.headers["webhook-id"], 0) + 1
        assert (len(charged), await balance(house), len(await deposits(house))) == (30, 30, 30)
        await check_invariants(house.database, house.blobs)


async def test_a_command_charges_too(settings: Settings, tmp_path: Path) -> None:
    script, seen = tmp_path / "charge.py", tmp_path / "seen.json"
    script.write_text(
        "import json, os, pathlib, sys\n"
        f"pathlib.Path({str(seen)!r}).write_text(json.dumps([sys.stdin.read(), dict(os.environ)]))\n"
        "sys.exit(int(pathlib.Path(sys.argv[1]).read_text()))\n"
    )
    code = tmp_path / "code"
    async with shop(settings, f"{sys.executable} {script} {code}") as house:
        for status, wanted in (("10", NoCredit), ("1", Unavailable), ("0", None)):
            code.write_text(status)
            fund = house.services.shop.fund(house.account, 1_000_000, status)
            if wanted:
                with pytest.raises(wanted):
                    await fund
            else:
                await fund
        assert await balance(house) == 1
    body, environment = json.loads(seen.read_text())
    assert Webhook(SECRET).verify(body, _headers(environment))["data"]["amount"] == "1.00"


async def test_a_hook_that_hangs_or_is_not_there_is_unknown(settings: Settings) -> None:
    async with receiver(hang) as here:
        for hook in (here.url, "sleep 60", "/nowhere/charge", "http://127.0.0.1:1/"):
            async with shop(settings, hook, charge_seconds=0.3) as house:
                with pytest.raises(Unavailable):
                    await house.services.shop.fund(house.account, 1_000_000)
                assert await house.services.ledger.wallet(house.account) == Wallet()


def _headers(environment: Mapping[str, str]) -> dict[str, str]:
    return {name.lower().replace("_", "-"): value for name, value in environment.items() if name.startswith("WEBHOOK_")}


def test_a_hook_needs_a_secret_which_no_error_shows() -> None:
    with pytest.raises(SetupFailed, match="must be given where there is a charge_hook"):
        read_settings(charge_hook="true")
    for wrong in ("whsec_c2hvcnQ=", "whsec_%%%", "hunter2"):
        with pytest.raises(SetupFailed, match="must be whsec_ and base64") as refused:
            read_settings(charge_hook="true", charge_secret=wrong)
        assert wrong not in refused.value.message
    assert len(read_settings(charge_hook="true", charge_secret=SECRET).charge_key) == 24


async def test_a_charge_that_is_not_known_here_is_not_taken_for_another(settings: Settings) -> None:
    async with receiver() as here, shop(settings, here.url) as house:
        other = await house.services.accounts.create_account("other")
        payments = Payments(house.settings, house.database)
        shops = Shop(house.settings, house.database, payments)
        assert await shops.fund(house.account, 1_000_000, "k") != await shops.fund(other, 1_000_000, "k")
        await payments.charge(other, 1_000_000, "wallet", uuid.uuid4())
        assert (await house.services.ledger.wallet(other)).available == 2_000_000
