"""What accounts buy for themselves: plans with a key, and places for models. Paid from the wallet in the transaction that gives them.

What the wallet lacks is charged first, where there is a hook. Knows nothing of callers.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import uuid
from dataclasses import dataclass

from safelight.errors import Invalid, NoCredit, Unavailable
from safelight.records import Account
from safelight.service.accounts import add_key, hash_of, well_formed
from safelight.service.ledger import in_millionths, move
from safelight.service.payments import Payments
from safelight.settings import Settings
from safelight.storage.database import Database, Row

log = logging.getLogger(__name__)

MONTHS = {"monthly": 1, "yearly": 12}
TURN_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Bought:
    """A plan by the name that it is sold under, the subscription's number, and the secret of the key that came with it."""

    name: str
    subscription: int
    secret: str


@dataclass(frozen=True, slots=True)
class Models:
    """Places for models that an account has bought, now and in all."""

    now: int
    ever: int


class Shop:
    """Where billing is off everything is for nothing, and nothing is booked."""

    def __init__(self, settings: Settings, database: Database, payments: Payments) -> None:
        self._settings, self._database, self._payments = settings, database, payments

    @property
    def takes_money(self) -> bool:
        """Whether wallets can be filled by their owners."""
        return self._settings.billing and self._payments.on

    def sold(self) -> list[str]:
        """The names under which plans are sold: ``standard_monthly``."""
        names = [(name, period) for name in self._settings.plans for period in MONTHS]
        return [f"{name}_{period}" for name, period in names if self._price(name, period) is not None]

    async def buy_plan(self, account: Account, sold: str, once: str = "") -> Bought:
        """In place of the plan that the account has. Raises Invalid for what is not sold, NoCredit or Unavailable."""
        if sold not in self.sold():
            raise Invalid(
                "plan_name", f"must be one of: {', '.join(self.sold())}" if self.sold() else "is not sold here"
            )
        name, _, period = sold.rpartition("_")
        price = self._price(name, period) or 0
        number = _number(account, once)
        await self._cover(account, price, sold, number, f"plan:{number}")
        async with self._database.transaction() as tx:
            if self._settings.billing:
                if not await move(tx, account.id, f"plan:{number}", -price, "sales", sold):
                    raise _bought_before()
                await tx.run("ledger.end_plans", account=account.id)
            key, secret = await add_key(tx, account, f"plan {sold}")
            row = await tx.one(
                "purchases.subscribe", account=account.id, key=key.id, plan=name, price=price,
                period=period if self._settings.billing else None, months=MONTHS[period] if self._settings.billing else 0,
            )  # fmt: skip
        assert row is not None
        return Bought(sold, row["id"], secret)

    async def cancel_plan(self, account: Account, secret: str) -> None:
        """By the key that was bought with it, which opens nothing any more; what is paid lasts. Raises Invalid."""
        async with self._database.transaction() as tx:
            found = well_formed(secret) and await tx.one("purchases.cancel", account=account.id, hash=hash_of(secret))
            if not found:
                raise Invalid("key_to_cancel", "is no key that you have bought with a plan")
            await tx.run("accounts.revoke_own", account=account.id, id=found["key_id"])

    async def buy_models(self, account: Account, quantity: int, once: str = "") -> Models:
        """Raises NoCredit or Unavailable. Where models have no price nothing is bought and nothing is needed."""
        if not self._settings.billing or self._settings.model_price is None:
            return Models(0, 0)
        price = in_millionths(self._settings.model_price * quantity)
        number = _number(account, once)
        await self._cover(account, price, f"{quantity} models", number, f"models:{number}")
        async with self._database.transaction() as tx:
            if not await move(tx, account.id, f"models:{number}", -price, "sales", f"{quantity} models"):
                raise _bought_before()
            row = await tx.one("purchases.add_models", account=account.id, quantity=quantity)
        assert row is not None
        return Models(quantity, row["models"])

    async def fund(self, account: Account, amount: int, once: str = "") -> uuid.UUID:
        """Raises NoCredit or Unavailable; asked again with the same ``once`` it is the same charge."""
        number = _number(account, once)
        await self._payments.charge(account, amount, "wallet", number)
        return number

    async def run(self) -> None:
        """Until cancelled; several take turns."""
        while True:
            try:
                if await self._database.run("upkeep.take_turn", name="shop", seconds=TURN_SECONDS) == 1:
                    await self.keep_up()
            except Unavailable:
                log.warning("the database does not answer the shop")
            await asyncio.sleep(TURN_SECONDS)

    async def keep_up(self) -> None:
        """All that may wait: charges of unknown outcome, and subscriptions that end within the hour."""
        await self._payments.resume()
        if self._settings.billing:
            for row in await self._database.all("purchases.due"):
                await self._renew(row)

    async def _cover(self, account: Account, price: int, purpose: str, number: uuid.UUID, transfer: str) -> None:
        """No money is charged for what was bought before."""
        row = await self._database.one("ledger.booked", transfer=transfer)
        if row and row["found"]:
            raise _bought_before()
        if price:
            await self._payments.cover(account, price, purpose, number)

    async def _renew(self, row: Row) -> None:
        """For the price at which it was bought, or not at all."""
        account, sold = Account(row["account_id"], row["account_name"]), f"{row['plan']}_{row['period']}"
        transfer = f"plan:{row['id']}:{row['ends_at']:%Y-%m-%d}"
        try:
            await self._payments.cover(account, row["price"], sold, uuid.uuid5(_NUMBERS, transfer))
            async with self._database.transaction() as tx:
                if await move(tx, account.id, transfer, -row["price"], "sales", sold):
                    months = MONTHS[row["period"]]
                    await tx.run("purchases.extend", id=row["id"], ends_at=row["ends_at"], months=months)
        except NoCredit:
            log.info("subscription %s is not renewed: the wallet does not hold its price", row["id"])
            await self._database.run("purchases.lapse", id=row["id"], ends_at=row["ends_at"])
        except Unavailable:
            log.warning("subscription %s waits for its payment", row["id"])

    def _price(self, name: str, period: str) -> int | None:
        """None where it is not sold; nothing where nothing costs anything."""
        plan = self._settings.plans[name]
        price = plan.monthly if period == "monthly" else plan.yearly
        if not self._settings.billing:
            return 0
        return None if price is None else in_millionths(price)


def _bought_before() -> Invalid:
    return Invalid("Idempotency-Key", "was sent with a purchase before, which was made")


_NUMBERS = uuid.UUID("6f1c6ae2-6a6b-4f0e-9a58-4d1a3f6f6b1e")  # any: what purchases are numbered under


def _number(account: Account, once: str) -> uuid.UUID:
    """The same for the same words of one account; a new one where there are none."""
    digest = hashlib.sha256(once.encode()).hexdigest()
    return uuid.uuid5(_NUMBERS, f"{account.id}:{digest}") if once else uuid.uuid4()
