"""How the endpoints of the control plane are described as OpenAPI. Decides nothing."""

from __future__ import annotations

from safelight.wire.modelslab import describe as words
from safelight.wire.openapi import Operation, Refusals, Schema, Shape

_ID = "7b1c6a5253c84d1b8a5e0d7a0c7f3a11"
_NUMBER: Schema = {"type": "number", "minimum": 0}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_TEXT: Schema = {"type": "string"}
_BALANCE = {"balance": 75.5, "currency": "USD"}


def _error(text: str, code: str, said: str) -> tuple[str, object]:
    told = {"code": code, "message": said, "details": {}}
    return text, {"data": None, "error": told, "meta": {"request_id": _ID}, "status": "error", "message": said}


REFUSALS = Refusals(
    Shape(
        "AgentsError",
        words.fields(
            {"data": {"type": "null"}, "error": words.fields({"code": _TEXT, "message": _TEXT}), "meta": {"type": "object"}},
            "error",
            "meta",
        ),
    ),
    {
        400: _error("A field breaks a rule", "validation_error", "type must be credit or debit"),
        401: _error("No key, or one that is not valid", "unauthenticated", "Invalid API key"),
        402: _error("The wallet does not hold the price, or the payment was declined", "insufficient_credits", "The payment was declined."),
        404: _error("Nothing of that name is yours", "not_found", "Not found"),
        408: _error("The body did not arrive in time", "server_error", "body must arrive within 60 seconds"),
        413: _error("The body is too large", "server_error", "body must have at most 25,165,824 bytes"),
        429: _error("Too many calls a minute", "rate_limited", "Rate limit exceeded. Maximum 120 requests a minute allowed."),
        500: _error("Our mistake", "server_error", "Internal server error. Please try again."),
        501: _error("This server does not do that", "not_offered", "Accounts of this server are named by its operator."),
        503: _error("A part of the server is away", "unavailable", "Service temporarily unavailable. Please try again later."),
    },
)  # fmt: skip


def _told(
    summary: str, called: str, data: Schema, given: object, takes: Schema | None = None, **example: object
) -> Operation:
    shape = words.fields({"data": data, "error": {"type": "null"}, "meta": {"type": "object"}}, "data", "meta")
    told = {"data": given, "error": None, "meta": {"request_id": _ID}}
    fields = Shape(f"{called}Query", words.fields(words.KEY | (takes or {})))
    return Operation(summary, Shape(called, shape), told, REFUSALS, fields, {"key": "", **example})


def _list(item: Schema) -> Schema:
    return {"type": "array", "items": item}


def _items(item: Schema) -> Schema:
    return words.fields({"items": _list(item), "count": _COUNT}, "items", "count")


_WALLET = words.fields({"balance": _NUMBER, "currency": _TEXT}, "balance", "currency")
_KEY = words.fields({"id": _COUNT, "name": _TEXT, "key": _TEXT}, "id", "name", "key")
_ONE_KEY = {
    "id": 3, "name": "Production Key", "key": "slk_0123abcd...", "status": "active",
    "created_at": "2026-11-25T12:00:00Z", "last_used_at": None,
}  # fmt: skip
_NAME: Schema = {"name": words.string("What the key is called.")}
_PLAN = {
    "id": 30, "name": "standard_monthly", "category": "normal", "period": "monthly", "type": "standard", "price": 29.0,
    "api_call_limit": 1000, "rate_limit": 10, "features": ["10 queued requests"],
}  # fmt: skip
_SUBSCRIPTION = {
    "id": 45, "feature": "normal", "plan": "standard", "status": "active",
    "current_period_start": "2026-11-01T00:00:00Z", "current_period_end": "2026-12-01T00:00:00Z",
}  # fmt: skip

ME = _told(
    "Who the key belongs to",
    "Me",
    words.fields({"id": _COUNT, "name": _TEXT, "plan": _TEXT, "wallet": _WALLET}, "id", "name"),
    {"id": 1, "name": "team-a", "username": "team-a", "plan": "pay_as_you_go", "wallet": _BALANCE},
)
WALLET = _told("What the wallet holds", "Wallet", _WALLET, _BALANCE)
TRANSACTIONS = _told(
    "What came into the wallet and what went out",
    "Transactions",
    _items({"type": "object"}),
    {"items": [], "count": 0, "total": 0, "wallet": _BALANCE},
    {
        "type": words.string("credit or debit; both by default."),
        "limit": words.whole("How many:", 50, 1, 200),
        "offset": words.whole("After how many:", 0, 0, None),
    },
)
SUMMARY = _told(
    "What the account has used",
    "UsageSummary",
    words.fields({"total_requests": _COUNT, "requests_this_month": _COUNT, "wallet": _WALLET}, "total_requests"),
    {"total_requests": 12, "requests_this_month": 3, "plan": "standard", "wallet": _BALANCE},
)
PRODUCTS = _told(
    "This month's requests by product, and the calls that the plan includes",
    "UsageProducts",
    _list({"type": "object"}),
    [{"product": "imagen", "plan": "standard", "requests": 102, "cost": 0.0, "total_api_call": 999}],
)
HISTORY = _told(
    "The account's jobs that succeeded, and what they cost",
    "UsageHistory",
    _items({"type": "object"}),
    {"items": [], "count": 0},
    {
        "from": words.string("A date, such as 2026-11-01."),
        "to": words.string("A date that is no longer included."),
        "limit": words.whole("How many:", 50, 1, 200),
    },
)
KEYS = _told("The account's keys, without their secrets", "AgentsKeys", _list(_KEY), [_ONE_KEY])
KEY = _told("One of the account's keys", "AgentsKey", _KEY, _ONE_KEY)
CREATED = _told("Make a key; its secret is told only now", "AgentsNewKey", _KEY, _ONE_KEY, _NAME, name="Production Key")
RELABELLED = _told("Call a key something else", "AgentsRenamedKey", _KEY, _ONE_KEY, _NAME, name="Production Key")
REVOKED = _told(
    "Revoke a key, at once and for good",
    "AgentsRevokedKey",
    words.fields({"message": _TEXT}),
    {"message": "API key deleted."},
)
PLANS = _told(
    "The plans that are sold here",
    "AgentsPlans",
    words.fields(
        {"subscription_plans": _list({"type": "object"}), "pay_as_you_go": {"type": "object"}, "count": _COUNT}
    ),
    {"subscription_plans": [_PLAN], "pay_as_you_go": {"available": True, "currency": "USD"}, "count": 1},
)
SUBSCRIPTIONS = _told(
    "The account's plan, where it has one", "AgentsSubscriptions", _list({"type": "object"}), [_SUBSCRIPTION]
)
SUBSCRIPTION = _told("How the account's plan stands", "AgentsSubscription", {"type": "object"}, _SUBSCRIPTION)
SUBSCRIBED = _told(
    "Buy a plan, in place of the one that the account has",
    "AgentsSubscribed",
    {"type": "object"},
    {"message": "Subscription created.", "subscription": {"id": 45, "plan_id": 30, "status": "active"}},
    {
        "plan_id": words.whole("Of the plans that are sold:", None, 0, None),
        "new_plan_id": words.whole("The same:", None, 0, None),
    },
    plan_id=30,
)
FUNDED = _told(
    "Fill the wallet, where the operator takes payments",
    "AgentsFunded",
    {"type": "object"},
    {"message": "Wallet funded.", "payment": {"status": "succeeded", "amount": 25.0}, "wallet": _BALANCE},
    {"amount": words.real("In the currency of the wallet.", 25, 1, 100_000)},
    amount=25,
)
OVERVIEW = _told(
    "Wallet and plan at a glance",
    "AgentsOverview",
    words.fields({"wallet": _WALLET, "subscriptions": _list({"type": "object"})}, "wallet"),
    {"wallet": _BALANCE, "payment_methods": [], "subscriptions": [_SUBSCRIPTION], "invoice_count": 0},
)
