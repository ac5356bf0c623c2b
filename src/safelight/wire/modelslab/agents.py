"""The vendor's newer control plane under agents/v1: who one is, one's wallet, usage, keys and plans, in its own envelope.

A key stands where the vendor wants a token of its own: as Bearer. Knows no body of the other families.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime

import structlog
from fastapi import Response

from safelight.errors import Invalid, NotFound, NotOffered
from safelight.records import Key
from safelight.service.ledger import Membership
from safelight.service.usage import Movement, Used, month_began
from safelight.settings import Settings
from safelight.wire.http import answer, refusal_of
from safelight.wire.modelslab import families
from safelight.wire.modelslab.absent import PAYING
from safelight.wire.modelslab.accounts import PRODUCT, balance, limited, money, product
from safelight.wire.modelslab.agents_described import (
    CREATED,
    HISTORY,
    KEY,
    KEYS,
    ME,
    OVERVIEW,
    PLANS,
    PRODUCTS,
    RELABELLED,
    REVOKED,
    SUBSCRIPTIONS,
    SUMMARY,
    TRANSACTIONS,
    WALLET,
)
from safelight.wire.modelslab.call import Act, Call, Row
from safelight.wire.openapi import Operation

CALLS_A_MINUTE = 120  # as the vendor's page says of all that is not about payments
MOST_ITEMS = 200
MOST_LABEL = 200  # letters
CODES = {
    400: "validation_error", 401: "unauthenticated", 402: "insufficient_credits", 403: "forbidden", 404: "not_found",
    429: "rate_limited", 501: "not_offered", 503: "unavailable",
}  # fmt: skip

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
        "items": [write_movement(each) for each in moved],
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
        "queue_limit": held.plan.queue if call.services.settings.billing else call.services.settings.account_queue,
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
    return {"items": [write_used(each) for each in used], "count": len(used)}


async def keys(call: Call) -> list[Json]:
    return [write_key(key) for key in await call.services.accounts.own_keys(call.account)]


async def key(call: Call) -> Json:
    return write_key(await call.services.accounts.own_key(call.account, _id(call)))


async def create_key(call: Call) -> Json:
    """Its secret is told only now."""
    made, secret = await call.services.accounts.create_key(call.account.name, _label(call))
    return write_key(made) | {"key": secret}


async def relabel_key(call: Call) -> Json:
    return write_key(await call.services.accounts.relabel_own(call.account, _id(call), _label(call)))


async def revoke_key(call: Call) -> Json:
    await call.services.accounts.revoke_own(call.account, _id(call))
    return {"message": "API key deleted."}


async def plans(call: Call) -> Json:
    settings = call.services.settings
    sold = list(write_plans(settings))
    return {"subscription_plans": sold, "pay_as_you_go": write_pay_as_you_go(settings), "count": len(sold)}


async def subscriptions(call: Call) -> list[Json]:
    held = await _membership(call)
    return [] if held.id is None else [write_membership(held)]


async def subscribe(_call: Call) -> Json:
    raise PAYING.refusal()


async def overview(call: Call) -> Json:
    return {
        "wallet": await balance(call),
        "payment_methods": [],
        "subscriptions": await subscriptions(call),
        "invoice_count": 0,
    }


def write_movement(moved: Movement) -> Json:
    cause, _, number = moved.transfer.partition(":")
    return {
        "id": moved.id,
        "source": "wallet" if cause == "capture" else "operator",
        "transaction_id": moved.transfer,
        "type": "credit" if moved.amount > 0 else "debit",
        "amount": money(abs(moved.amount)),
        "status": "success",
        "usecase": {"deposit": "wallet_funding", "capture": f"generation {number}"}.get(cause, cause),
        "created_at": moved.at,
    }


def write_used(used: Used) -> Json:
    return {
        "id": used.job_id,
        "product": PRODUCT,
        "samples": used.pictures,
        "generation_time": used.seconds,
        "cost": money(used.paid),
        "created_at": used.at,
    }


def write_key(found: Key) -> Json:
    """What begins it tells keys apart and opens nothing."""
    return {
        "id": found.id,
        "name": found.label,
        "key": f"{found.prefix}...",
        "status": "active",
        "created_at": found.created_at,
        "last_used_at": found.last_used_at,
    }


def write_plans(settings: Settings) -> Iterator[Json]:
    """Every plan with a price, for each of its periods; numbered as they stand in the settings."""
    for number, (name, plan) in enumerate(settings.plans.items()):
        for place, (period, price) in enumerate((("monthly", plan.monthly), ("yearly", plan.yearly))):
            if settings.billing and price is not None:
                yield {
                    "id": 10 * (number + 1) + place,
                    "name": f"{name}_{period}",
                    "category": "normal",
                    "period": period,
                    "type": name,
                    "price": float(price),
                    "api_call_limit": plan.calls,
                    "rate_limit": plan.queue,
                    "features": [f"{plan.queue} queued requests", f"{plan.calls} calls a month included"],
                }


def write_pay_as_you_go(settings: Settings) -> Json:
    return {
        "available": settings.billing,
        "description": "A job is paid from the wallet when it succeeds; the operator of this server fills wallets.",
        "minimum_topup_usd": 0.0,
        "currency": settings.currency,
        "auto_payments": {
            "supported": False,
            "description": "Wallets are not filled by themselves.",
            "configure_endpoint": "",
            "disable_endpoint": "",
        },
        "fund_endpoint": "",
    }


def write_membership(held: Membership) -> Json:
    return {
        "id": held.id,
        "feature": "normal",
        "plan": held.name,
        "status": "canceled" if held.cancelled else "active",
        "current_period_start": held.began_at,
        "current_period_end": held.ends_at,
    }


def write_error(error: Exception, _path: str, _settings: Settings) -> Response:
    """In the envelope, and as the older families say it, which is what the vendor's command line reads too."""
    refusal = refusal_of(error)
    told = {"code": CODES.get(refusal.status, "server_error"), "message": refusal.sentence, "details": {}}
    body = {"data": None, "error": told, "meta": _meta(), "status": "error", "message": refusal.sentence}
    return answer(body, refusal.status, refusal.headers)


def _meta() -> Json:
    return {"request_id": structlog.contextvars.get_contextvars().get("request_id", "")}


def _row(method: str, path: str, tell: Tell, operation: Operation) -> Row:
    return Row(f"agents/v1/{path}", families.AGENTS, _told(tell), operation, (method,))


def _told(tell: Tell) -> Act:
    async def act(call: Call) -> Response:
        headers = await limited(call, "agents", CALLS_A_MINUTE)
        return answer({"data": await tell(call), "error": None, "meta": _meta()}, headers=headers)

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
    _row("POST", "subscriptions", subscribe, SUBSCRIPTIONS),
    _row("GET", "billing/overview", overview, OVERVIEW),
)
