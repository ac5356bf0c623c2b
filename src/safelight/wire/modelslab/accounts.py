"""What the vendor's older pages ask of an account: its balance, its products, how much it has under way.

Where billing is off they answer zeros, which is the truth: nothing is counted against anybody.
"""

from __future__ import annotations

from fastapi import Response

from safelight.errors import Invalid
from safelight.service.ledger import MILLION
from safelight.wire.http import IDEMPOTENCY_KEY, LONGEST_KEY, answer, rate_headers
from safelight.wire.modelslab import describe as words
from safelight.wire.modelslab import families
from safelight.wire.modelslab.call import BOTH, Call, Row
from safelight.wire.openapi import Operation, Shape

COUNTS_A_MINUTE = 30  # of request_count, as its page says
COUNTED = "Current processing request count retrieved successfully"
CANCELLED = "subscription cancelled successfully"
FREE_KEY = "Nothing was charged: accounts of this server have no limits. This is a further key of yours."
MOST_NAME = 200  # letters
MOST_MODELS = 1000
PRODUCT = "imagen"  # the vendor's word for pictures

Json = dict[str, object]


async def wallet_balance(call: Call) -> Response:
    return answer({"status": "success", "data": await balance(call)})


async def subscribed_products(call: Call) -> Response:
    return answer({"status": "success", "data": {PRODUCT: await product(call)}})


async def request_count(call: Call) -> Response:
    headers = await limited(call, "request_count", COUNTS_A_MINUTE)
    count = await call.services.jobs.unfinished(call.account)
    return answer({"status": "success", "processing_count": count, "message": COUNTED}, headers=headers)


async def buy_subscription(call: Call) -> Response:
    name = call.form.required("plan_name", limit=MOST_NAME)
    bought = await call.services.shop.buy_plan(call.account, name, once(call))
    billed = call.services.settings.billing
    said = f"You have just bought a custom api with {name.rpartition('_')[0]} plan" if billed else FREE_KEY
    return answer({"status": "success", "messege": said, "data": {"key": bought.secret, "plan": name}})


async def cancel_subscription(call: Call) -> Response:
    await call.services.shop.cancel_plan(call.account, call.form.required("key_to_cancel", limit=MOST_NAME))
    return answer({"status": "success", "messege": CANCELLED})


async def buy_model(call: Call) -> Response:
    """Used are those that the account has installed here; they need no place that was bought."""
    if not call.form.has("quantity"):
        raise Invalid("quantity", "is required")
    quantity = call.form.whole("quantity", 1, 1, MOST_MODELS)
    models = await call.services.shop.buy_models(call.account, quantity, once(call))
    said = "Payment was charged successfuly" if models.now else "Nothing was charged: models cost nothing here"
    told = {"purchased_models": models.now, "used_models": await call.services.models.count(call.account)}
    told |= {"available_models": models.ever}
    return answer({"status": "success", "messege": said} | told)


def once(call: Call) -> str:
    """What makes a purchase that is sent again the same one."""
    return call.request.headers.get(IDEMPOTENCY_KEY, "").strip()[:LONGEST_KEY]


async def limited(call: Call, what: str, limit: int) -> dict[str, str]:
    """The headers that say what is left of a minute's calls; none where nothing is limited. Raises OverQuota."""
    taken = await call.services.rates.take(call.account, what, limit)
    return rate_headers(taken.limit, taken.remaining, taken.resets_at) if taken else {}


async def balance(call: Call) -> Json:
    wallet = await call.services.ledger.wallet(call.account)
    return {"balance": money(wallet.available), "currency": call.services.settings.currency}


async def product(call: Call) -> Json:
    """The calls that a plan includes each month, and how many of them are left."""
    ledger = call.services.ledger
    included = (await ledger.membership(call.account)).plan.calls if call.services.settings.billing else 0
    used = min(included, await ledger.calls(call.account)) if included else 0
    return {
        "total_api_call": included,
        "api_call_remaining": included - used,
        "percentage_used": 100 * used // included if included else 0,
    }


def money(millionths: int) -> float:
    return millionths / MILLION


def about_accounts(
    summary: str, gives: Shape, given: object, takes: Shape = words.KEY_ONLY, **example: object
) -> Operation:
    return Operation(summary, gives, given, words.REFUSALS, takes, {"key": "", **example})


BALANCE: Json = words.fields({"balance": {"type": "number"}, "currency": {"type": "string"}}, "balance", "currency")
BALANCE_OPERATION = about_accounts(
    "What the wallet holds",
    Shape("Balance", words.fields(words.DONE | {"data": BALANCE}, "status", "data")),
    {"status": "success", "data": {"balance": 43.6, "currency": "USD"}},
)
_CALLS: Json = {"type": "integer", "minimum": 0}
_PRODUCT = words.fields(
    {"total_api_call": _CALLS, "api_call_remaining": _CALLS, "percentage_used": _CALLS}, "total_api_call"
)
PRODUCTS_OPERATION = about_accounts(
    "The calls that the account's plan includes each month",
    Shape(
        "Products",
        words.fields(words.DONE | {"data": {"type": "object", "additionalProperties": _PRODUCT}}, "status", "data"),
    ),
    {
        "status": "success",
        "data": {PRODUCT: {"total_api_call": 999, "api_call_remaining": 897, "percentage_used": 10}},
    },
)
COUNT_OPERATION = about_accounts(
    "How many of the account's requests wait or run",
    Shape(
        "RequestCount",
        words.fields(
            words.DONE | {"processing_count": _CALLS, "message": {"const": COUNTED}}, "status", "processing_count"
        ),
    ),
    {"status": "success", "processing_count": 2, "message": COUNTED},
)
BUY_OPERATION = about_accounts(
    "Buy a plan, which comes with a key of its own",
    Shape(
        "BoughtPlan",
        words.fields(words.DONE | {"messege": {"type": "string"}, "data": {"type": "object"}}, "status", "data"),
    ),
    {
        "status": "success",
        "messege": "You have just bought a custom api with basic plan",
        "data": {"key": "slk_...", "plan": "basic_monthly"},
    },
    Shape(
        "BuyPlan",
        words.fields(
            words.KEY | {"plan_name": {"type": "string", "description": "Such as standard_yearly."}}, "plan_name"
        ),
    ),
    plan_name="basic_monthly",
)
CANCEL_OPERATION = about_accounts(
    "Revoke a key that was bought with a plan; the plan is not renewed",
    Shape("CancelledPlan", words.fields(words.DONE | {"messege": {"const": CANCELLED}}, "status", "messege")),
    {"status": "success", "messege": CANCELLED},
    Shape("CancelPlan", words.fields(words.KEY | {"key_to_cancel": {"type": "string"}}, "key_to_cancel")),
    key_to_cancel="slk_...",
)
BUY_MODEL_OPERATION = about_accounts(
    "Buy places for models",
    Shape(
        "BoughtModels",
        words.fields(
            words.DONE | dict.fromkeys(("purchased_models", "used_models", "available_models"), _CALLS), "status"
        ),
    ),
    {
        "status": "success",
        "messege": "Payment was charged successfuly",
        "purchased_models": 4,
        "used_models": 0,
        "available_models": 42,
    },
    Shape(
        "BuyModels", words.fields(words.KEY | {"quantity": words.whole("How many:", None, 1, MOST_MODELS)}, "quantity")
    ),
    quantity="4",
)

ROWS = (
    Row("v3/buy_subscription", families.V3, buy_subscription, BUY_OPERATION),
    Row("v3/cancel_subscription", families.V3, cancel_subscription, CANCEL_OPERATION),
    Row("v3/dreambooth/buy_model", families.V3_DREAMBOOTH, buy_model, BUY_MODEL_OPERATION),
    Row("wallet_balance", families.V3, wallet_balance, BALANCE_OPERATION, BOTH),
    Row("subscribed_products", families.V3, subscribed_products, PRODUCTS_OPERATION, BOTH),
    Row("v6/processing/request_count", families.V6, request_count, COUNT_OPERATION, BOTH),
)
