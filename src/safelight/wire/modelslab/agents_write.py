"""What the control plane says of accounts, in its own envelope. Knows no request and no service."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import structlog
from fastapi import Response

from safelight.records import Key
from safelight.service.ledger import Membership
from safelight.service.usage import Movement, Used
from safelight.settings import Plan, Settings
from safelight.wire.http import answer, refusal_of
from safelight.wire.modelslab.accounts import PRODUCT, money

CODES = {
    400: "validation_error", 401: "unauthenticated", 402: "insufficient_credits", 403: "forbidden", 404: "not_found",
    429: "rate_limited", 501: "not_offered", 503: "unavailable",
}  # fmt: skip

Json = dict[str, object]


def write_movement(moved: Movement) -> Json:
    cause, _, number = moved.transfer.partition(":")
    return {
        "id": moved.id,
        "source": "wallet" if moved.amount < 0 else "deposit",
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
                    "features": _features(plan),
                }


def _features(plan: Plan) -> list[str]:
    return [f"{plan.queue} queued requests"] + ([f"{plan.calls} calls a month included"] if plan.calls else [])


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
        "fund_endpoint": "POST /api/agents/v1/wallet/fund" if settings.charge_hook else "",
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


def write_told(data: object, headers: Mapping[str, str]) -> Response:
    return answer({"data": data, "error": None, "meta": _meta()}, headers=headers)


def _meta() -> Json:
    return {"request_id": structlog.contextvars.get_contextvars().get("request_id", "")}
