"""The vendor's newer control plane under agents/v1: who one is, one's wallet, usage, keys and plans, in its own envelope.

A key stands where the vendor wants a token of its own: as Bearer. Knows no body of the other families.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from decimal import Decimal

from fastapi import Response

from safelight.errors import Invalid, NotFound, NotOffered
from safelight.service.ledger import Membership, in_millionths
from safelight.service.usage import month_began
from safelight.wire.modelslab import agents_write as write
from safelight.wire.modelslab import families
from safelight.wire.modelslab.absent import PAYING
from safelight.wire.modelslab.accounts import PRODUCT, balance, limited, money, once, product
from safelight.wire.modelslab.agents_described import (
    CREATED,
    FUNDED,
    HISTORY,
    KEY,
    KEYS,
    ME,
    OVERVIEW,
    PLANS,
    PRODUCTS,
    RELABELLED,
    REVOKED,
    SUBSCRIBED,
    SUBSCRIPTION,
    SUBSCRIPTIONS,
    SUMMARY,
    TRANSACTIONS,
    WALLET,
)
from safelight.wire.modelslab.call import Act, Call, Row
from safelight.wire.openapi import Operation

CALLS_A_MINUTE = 120  # as the vendor's page says of all that is not about payments
PAYMENTS_A_MINUTE = 15
MOST_ITEMS = 200
LEAST_FUND, MOST_FUND = 1, 100_000  # at a time, in the currency
MOST_LABEL = 200  # letters

Json = dict[str, object]
Tell = Callable[[Call], Awaitable[object]]


async def me(call: Call) -> Json:
    held = await _membership(call)
    return {
        "id": call.account.id,
        "name": call.account.name,
        "username": call.account.name,
        "plan": held.name,
        "wallet": await balance(call),
    }


async def rename(_call: Call) -> Json:
    raise NotOffered("Accounts of this server are named by its operator.")


async def wallet(call: Call) -> Json:
    return await balance(call)


async def transactions(call: Call) -> Json:
    kind = call.form.text("type", limit=10)
    if kind not in ("", "credit", "debit"):
        raise Invalid("type", "must be credit or debit")
    sign = {"credit": 1, "debit": -1}.get(kind)
    limit, offset = call.form.whole("limit", 50, 1, MOST_ITEMS), call.form.whole("offset", 0, 0, 10**9)
    moved, total = await call.services.usage.movements(call.account, sign, limit, offset)
    turnover = await call.services.usage.turnover(call.account)
    whole = {"total_credited": money(turnover.credited), "amount_used": money(turnover.spent)}
    return {
        "items": [write.write_movement(each) for each in moved],
        "count": len(moved),
        "total": total,
        "wallet": await balance(call) | whole,
    }


async def summary(call: Call) -> Json:
    month = await call.services.usage.totals(call.account, month_began())
    ever = await call.services.usage.totals(call.account)
    held = await _membership(call)
    return {
        "total_requests": ever.jobs,
        "total_pictures": ever.pictures,
        "total_seconds": ever.seconds,
        "requests_this_month": month.jobs,
        "pictures_this_month": month.pictures,
        "processing": await call.services.jobs.unfinished(call.account),
        "queue_limit": await call.services.jobs.limit(call.account),
        "plan": held.name,
        "wallet": await balance(call),
    }


async def products(call: Call) -> list[Json]:
    """This month's."""
    month = await call.services.usage.totals(call.account, month_began())
    told = {
        "product": PRODUCT,
        "plan": (await _membership(call)).name,
        "requests": month.jobs,
        "cost": money(month.paid),
    }
    return [told | await product(call)]


async def history(call: Call) -> Json:
    since, until = _date(call, "from"), _date(call, "to")
    limit = call.form.whole(call.form.either("limit", "per_page"), 50, 1, MOST_ITEMS)
    used = await call.services.usage.history(call.account, since, until, limit)
    return {"items": [write.write_used(each) for each in used], "count": len(used)}


async def keys(call: Call) -> list[Json]:
    return [write.write_key(key) for key in await call.services.accounts.own_keys(call.account)]


async def key(call: Call) -> Json:
    return write.write_key(await call.services.accounts.own_key(call.account, _id(call)))


async def create_key(call: Call) -> Json:
    """Its secret is told only now."""
    made, secret = await call.services.accounts.create_key(call.account.name, _label(call))
    return write.write_key(made) | {"key": secret}


async def relabel_key(call: Call) -> Json:
    return write.write_key(await call.services.accounts.relabel_own(call.account, _id(call), _label(call)))


async def revoke_key(call: Call) -> Json:
    await call.services.accounts.revoke_own(call.account, _id(call))
    return {"message": "API key deleted."}


async def plans(call: Call) -> Json:
    settings = call.services.settings
    sold = list(write.write_plans(settings))
    return {"subscription_plans": sold, "pay_as_you_go": write.write_pay_as_you_go(settings), "count": len(sold)}


async def subscriptions(call: Call) -> list[Json]:
    held = await _membership(call)
    return [] if held.id is None else [write.write_membership(held)]


async def subscription_status(call: Call) -> Json:
    held = await _membership(call)
    if held.id is None or held.id != _id(call):
        raise NotFound
    return write.write_membership(held)


async def subscribe(call: Call) -> Json:
    """Also in place of the plan that one has. The key that comes with it stands with the others."""
    field = call.form.either("plan_id", "new_plan_id")
    sold = {plan["id"]: str(plan["name"]) for plan in write.write_plans(call.services.settings)}
    wanted = call.form.whole(field, 0, 0, 10**6)
    if wanted not in sold:
        raise Invalid(field, "must be the id of a plan that is sold here")
    bought = await call.services.shop.buy_plan(call.account, sold[wanted], once(call))
    told = {"id": bought.subscription, "plan_id": wanted, "feature": "normal", "status": "active"}
    return {
        "message": "Subscription created.",
        "subscription": told,
        "key": bought.secret,
        "stripe_subscription_id": "",
        "status": "active",
    }


async def fund(call: Call) -> Json:
    if not call.services.shop.takes_money:
        raise PAYING.refusal()
    amount = call.form.real("amount", 0, 0, MOST_FUND)
    if amount < LEAST_FUND:
        raise Invalid("amount", f"must be between {LEAST_FUND} and {MOST_FUND}")
    charge = await call.services.shop.fund(call.account, in_millionths(Decimal(f"{amount:.2f}")), once(call))
    paid = {"status": "succeeded", "payment_intent_id": str(charge), "amount": round(amount, 2)}
    return {"message": "Wallet funded.", "payment": paid, "wallet": await balance(call)}


async def overview(call: Call) -> Json:
    return {
        "wallet": await balance(call),
        "payment_methods": [],
        "subscriptions": await subscriptions(call),
        "invoice_count": 0,
    }


def _row(method: str, path: str, tell: Tell, operation: Operation) -> Row:
    return Row(f"agents/v1/{path}", families.AGENTS, _told(tell), operation, (method,))


def _told(tell: Tell) -> Act:
    limit = ("payments", PAYMENTS_A_MINUTE) if tell in (subscribe, fund) else ("agents", CALLS_A_MINUTE)

    async def act(call: Call) -> Response:
        headers = await limited(call, *limit)
        return write.write_told(await tell(call), headers)

    return act


async def _membership(call: Call) -> Membership:
    return await call.services.ledger.membership(call.account)


def _date(call: Call, field: str) -> datetime | None:
    word = call.form.text(field, limit=40)
    try:
        found = datetime.fromisoformat(word) if word else None
    except ValueError:
        raise Invalid(field, "must be a date such as 2026-11-25") from None
    return found.replace(tzinfo=UTC) if found and found.tzinfo is None else found


def _id(call: Call) -> int:
    word = call.path_id or ""
    if not (word.isascii() and word.isdecimal() and len(word) < 19):
        raise NotFound
    return int(word)


def _label(call: Call) -> str:
    return call.form.text("name", limit=MOST_LABEL)


ROWS = (
    _row("GET", "me", me, ME),
    _row("PATCH", "me", rename, ME),
    _row("GET", "wallet/balance", wallet, WALLET),
    _row("GET", "wallet/transactions", transactions, TRANSACTIONS),
    _row("GET", "usage/summary", summary, SUMMARY),
    _row("GET", "usage/products", products, PRODUCTS),
    _row("GET", "usage/history", history, HISTORY),
    _row("GET", "api-keys", keys, KEYS),
    _row("POST", "api-keys", create_key, CREATED),
    _row("GET", "api-keys/{id}", key, KEY),
    _row("PUT", "api-keys/{id}", relabel_key, RELABELLED),
    _row("DELETE", "api-keys/{id}", revoke_key, REVOKED),
    _row("GET", "subscriptions/plans", plans, PLANS),
    _row("GET", "subscriptions", subscriptions, SUBSCRIPTIONS),
    _row("POST", "subscriptions", subscribe, SUBSCRIBED),
    _row("PUT", "subscriptions/{id}", subscribe, SUBSCRIBED),
    _row("GET", "subscriptions/{id}/status", subscription_status, SUBSCRIPTION),
    _row("POST", "wallet/fund", fund, FUNDED),
    _row("GET", "billing/overview", overview, OVERVIEW),
)
