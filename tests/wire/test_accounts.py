"""What is told of accounts and their money, where billing is off and where it is on."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from .site import Json, Site

AGENTS = ("me", "wallet/balance", "wallet/transactions", "usage/summary", "usage/products", "usage/history", "api-keys",
          "subscriptions/plans", "subscriptions", "billing/overview")  # fmt: skip
OLDER = ("wallet_balance", "subscribed_products", "v6/processing/request_count")
PRICE = 0.065536  # of the picture that Site.made asks for: 64 x 64, 2 rows, 2 steps of 4, at 4 a million


def get(site: Site, path: str, key: str, **query: object) -> Any:
    reply = site.http.get(
        f"/api/agents/v1/{path}",
        headers={"Authorization": f"Bearer {key}"},
        params=query,  # type: ignore[arg-type]
    )
    body = reply.json()
    assert (reply.status_code, body["error"], list(body)) == (200, None, ["data", "error", "meta"]), body
    assert body["meta"]["request_id"] == reply.headers["X-Request-Id"]
    return body["data"]


def payer(shop: Site, amount: int = 0) -> tuple[str, str]:
    """A new account's name and key, with money in its wallet."""
    key = shop.key()
    name: str = get(shop, "me", key)["name"]
    if amount:
        shop.ask(shop.services.ledger.credit(name, Decimal(amount)))
    return name, key


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_without_billing_balances_are_zero(site: Site, key: str, method: str) -> None:
    site.made(key)
    told = [site.http.request(method, f"/api/{path}", json={"key": key}).json() for path in OLDER]
    assert told == [
        {"status": "success", "data": {"balance": 0.0, "currency": "USD"}},
        {
            "status": "success",
            "data": {"imagen": {"total_api_call": 0, "api_call_remaining": 0, "percentage_used": 0}},
        },
        {
            "status": "success",
            "processing_count": 0,
            "message": "Current processing request count retrieved successfully",
        },
    ]


def test_without_billing_usage_is_told_all_the_same(site: Site, key: str) -> None:
    site.made(key, samples=2)
    told = get(site, "usage/summary", key)
    assert (told["total_requests"], told["total_pictures"], told["processing"], told["plan"]) == (
        1,
        2,
        0,
        "pay_as_you_go",
    )
    assert told["queue_limit"] == site.settings.account_queue
    (item,) = get(site, "usage/history", key)["items"]
    assert (item["samples"], item["cost"], item["product"]) == (2, 0.0, "imagen")
    assert get(site, "usage/history", key, **{"from": "2020-01-01", "to": "2020-02-01"})["items"] == []
    assert get(site, "subscriptions/plans", key)["count"] == 0
    assert get(site, "billing/overview", key)["subscriptions"] == []


@pytest.mark.parametrize("path", [*OLDER, *(f"agents/v1/{path}" for path in AGENTS)])
def test_a_wrong_key_is_told_nothing(site: Site, path: str) -> None:
    for headers in ({}, {"Authorization": "Bearer slk_wrong"}):
        reply = site.http.get(f"/api/{path}", headers=headers)
        assert (reply.status_code, reply.json()["message"][-8:]) == (401, "required" if not headers else " API key")
        assert not path.startswith("agents") or reply.json()["error"]["code"] == "unauthenticated"


@pytest.mark.parametrize(
    "path", ["v3/buy_subscription", "v3/cancel_subscription", "v3/dreambooth/buy_model", "agents/v1/subscriptions"]
)
def test_a_wrong_key_buys_nothing(shop: Site, path: str) -> None:
    reply = shop.http.post(f"/api/{path}", headers={"Authorization": "Bearer slk_wrong"}, json={"plan_name": "x"})
    assert (reply.status_code, reply.json()["message"]) == (401, "Invalid API key")


def test_an_empty_wallet_is_known_before_a_picture_is_fetched(shop: Site) -> None:
    nobody = "http://127.0.0.1:9/picture.png"  # asked for, it would be refused as unreachable
    reply = shop.img2img(shop.key(), init_image=nobody)
    assert (reply.status_code, reply.json()["status"]) == (402, "error")


def test_a_picture_is_paid_from_the_wallet(shop: Site) -> None:
    _, key = payer(shop, amount=1)
    with shop.closed_gate():
        shop.held_back(key)
        assert shop.post("v6/processing/request_count", key).json()["processing_count"] == 1
        assert get(shop, "wallet/balance", key) == {"balance": 1 - PRICE, "currency": "USD"}
    shop.holdings()
    assert shop.post("wallet_balance", key).json()["data"] == {"balance": 1 - PRICE, "currency": "USD"}
    told = get(shop, "wallet/transactions", key)
    assert [(item["type"], item["amount"]) for item in told["items"]] == [("debit", PRICE), ("credit", 1.0)]
    assert (told["total"], told["wallet"]["total_credited"], told["wallet"]["amount_used"]) == (2, 1.0, PRICE)
    assert [item["type"] for item in get(shop, "wallet/transactions", key, type="credit")["items"]] == ["credit"]
    assert get(shop, "usage/history", key)["items"][0]["cost"] == PRICE


def test_an_empty_wallet_is_told_so(shop: Site) -> None:
    _, key = payer(shop)
    said = "Insufficient credits. Please add more credits to continue."
    for path in ("v3/text2img", "v6/images/text2img", "v7/images/text-to-image"):
        reply = shop.post(path, key, prompt="a cat", width=64, height=64)
        assert (reply.status_code, reply.json()["status"], reply.json()["message"]) == (402, "error", said)
    assert get(shop, "usage/summary", key)["total_requests"] == 0


def test_an_empty_wallet_in_tensorslabs_words(shop: Site) -> None:
    _, key = payer(shop)
    reply = shop.http.post("/v1/images/seedreamv4", headers={"Authorization": key}, files={"prompt": (None, "a cat")})
    said = "Insufficient credits. Please add more credits to continue."
    assert (reply.status_code, reply.json()) == (402, {"code": 9000, "msg": said})


def test_a_plan_has_calls_and_a_queue(shop: Site) -> None:
    name, key = payer(shop)
    shop.ask(shop.services.ledger.give_plan(name, "standard"))
    shop.made(key)
    (told,) = get(shop, "usage/products", key)
    wanted = {"total_api_call": 2, "api_call_remaining": 1, "percentage_used": 50}
    assert told == {"product": "imagen", "plan": "standard", "requests": 1, "cost": 0.0} | wanted
    assert shop.post("subscribed_products", key).json()["data"] == {"imagen": wanted}
    (held,) = get(shop, "subscriptions", key)
    assert (held["plan"], held["status"], held["current_period_end"]) == ("standard", "active", None)
    assert get(shop, "me", key)["plan"] == "standard"


def test_a_full_queue_is_told_with_what_the_plan_allows(shop: Site) -> None:
    _, key = payer(shop, amount=1)
    with shop.closed_gate():
        for _ in range(3):
            shop.held_back(key)
        refused = shop.img2img(key)
    assert (refused.status_code, refused.json()["message"]) == (
        429, "Rate limit exceeded. Maximum 3 queued requests allowed.",
    )  # fmt: skip
    assert refused.json()["retry_after"] == int(refused.headers["Retry-After"])
    assert (refused.headers["X-RateLimit-Limit"], refused.headers["X-RateLimit-Remaining"]) == ("3", "0")
    assert int(refused.headers["X-RateLimit-Reset"]) > 1_700_000_000


def test_counting_is_limited_by_the_minute_where_billing_is_on(shop: Site, site: Site, key: str) -> None:
    _, own = payer(shop)
    left = [shop.post("v6/processing/request_count", own).headers["X-RateLimit-Remaining"] for _ in range(30)]
    assert left == [str(number) for number in reversed(range(30))]
    refused = shop.post("v6/processing/request_count", own)
    assert refused.status_code == 429
    assert 0 < refused.json()["retry_after"] <= 60
    assert "X-RateLimit-Limit" in shop.http.get("/api/agents/v1/me", params={"key": own}).headers
    assert "X-RateLimit-Limit" not in site.post("v6/processing/request_count", key).headers


def test_plans_for_sale_are_listed(shop: Site) -> None:
    told = get(shop, "subscriptions/plans", shop.key())
    sold = [(plan["name"], plan["price"], plan["api_call_limit"]) for plan in told["subscription_plans"]]
    assert sold == [("standard_monthly", 29.0, 2), ("standard_yearly", 290.0, 2)]
    assert (told["count"], told["pay_as_you_go"]["available"]) == (2, True)


def test_keys_are_made_listed_renamed_and_revoked(site: Site, key: str) -> None:
    bearer = {"Authorization": f"Bearer {key}"}
    made: Json = site.http.post("/api/agents/v1/api-keys", headers=bearer, json={"name": "phone"}).json()["data"]
    assert get(site, "me", made["key"]) == get(site, "me", key)
    path = f"/api/agents/v1/api-keys/{made['id']}"
    assert site.http.put(path, headers=bearer, json={"name": "old phone"}).json()["data"]["name"] == "old phone"
    listed = get(site, "api-keys", key)
    assert [found["name"] for found in listed] == ["", "old phone"]
    assert listed[1] == get(site, f"api-keys/{made['id']}", key)
    assert made["key"] not in str(listed)
    foreign = {"Authorization": f"Bearer {site.key()}"}
    for method in ("GET", "PUT", "DELETE"):
        assert site.http.request(method, path, headers=foreign).status_code == 404
    assert site.http.delete(path, headers=bearer).status_code == 200
    assert site.http.delete(path, headers=bearer).status_code == 404
    assert site.http.get("/api/agents/v1/me", headers={"Authorization": f"Bearer {made['key']}"}).status_code == 401


@pytest.mark.parametrize(
    ("path", "query", "said"),
    [
        ("wallet/transactions", {"type": "gift"}, "type must be credit or debit"),
        ("wallet/transactions", {"limit": 201}, "limit must be between 1 and 200"),
        ("usage/history", {"from": "yesterday"}, "from must be a date such as 2026-11-25"),
        ("usage/history", {"per_page": 0}, "per_page must be between 1 and 200"),
    ],
)
def test_what_cannot_be_read_names_the_field(site: Site, key: str, path: str, query: Json, said: str) -> None:
    reply = site.http.get(f"/api/agents/v1/{path}", params={"key": key} | query)
    told = reply.json()["error"]
    assert (reply.status_code, told["code"], told["message"]) == (400, "validation_error", said)


def test_a_plan_is_bought_with_a_key_and_cancelled_by_it(shop: Site) -> None:
    _, key = payer(shop, amount=400)
    bought = shop.post("v3/buy_subscription", key, plan_name="standard_monthly").json()
    assert bought["messege"] == "You have just bought a custom api with standard plan"
    assert (bought["status"], bought["data"]["plan"]) == ("success", "standard_monthly")
    assert get(shop, "me", bought["data"]["key"])["plan"] == "standard"
    (held,) = get(shop, "subscriptions", key)
    assert get(shop, f"subscriptions/{held['id']}/status", key) == held
    cancelled = shop.post("v3/cancel_subscription", key, key_to_cancel=bought["data"]["key"]).json()
    assert cancelled == {"status": "success", "messege": "subscription cancelled successfully"}
    assert get(shop, "subscriptions", key)[0]["status"] == "canceled"
    bearer = {"Authorization": f"Bearer {key}"}
    (plan,) = [
        sold["id"] for sold in get(shop, "subscriptions/plans", key)["subscription_plans"] if sold["price"] == 290
    ]
    told = shop.http.post("/api/agents/v1/subscriptions", headers=bearer, json={"plan_id": plan}).json()["data"]
    assert (told["message"], told["subscription"]["plan_id"]) == ("Subscription created.", plan)
    assert get(shop, "wallet/balance", key)["balance"] == 400 - 29 - 290
    assert [item["usecase"] for item in get(shop, "wallet/transactions", key, type="debit")["items"]] == [
        "plan",
        "plan",
    ]


def test_what_cannot_be_bought_says_why(shop: Site) -> None:
    _, key = payer(shop)
    bearer = {"Authorization": f"Bearer {key}"}
    for path, fields, status, said in (
        ("v3/buy_subscription", {"plan_name": "standard_monthly"}, 402, "Insufficient credits"),
        ("v3/buy_subscription", {"plan_name": "premium_monthly"}, 400, "plan_name must be one of: standard_monthly"),
        ("v3/buy_subscription", {}, 400, "plan_name is required"),
        ("v3/cancel_subscription", {"key_to_cancel": key}, 400, "key_to_cancel is no key that you have bought"),
        ("v3/dreambooth/buy_model", {}, 400, "quantity is required"),
        ("agents/v1/subscriptions", {"plan_id": 7}, 400, "plan_id must be the id of a plan that is sold here"),
        ("agents/v1/wallet/fund", {"amount": 25}, 501, "This server takes no payments itself."),
    ):
        reply = shop.http.post(f"/api/{path}", headers=bearer, json=fields)
        assert (reply.status_code, reply.json()["message"].startswith(said)) == (status, True), reply.text


def test_without_billing_nothing_is_charged_for_anything(site: Site, key: str) -> None:
    bought = site.post("v3/buy_subscription", key, plan_name="basic_monthly").json()
    assert bought["messege"].startswith("Nothing was charged")
    assert site.post("v3/system_load", bought["data"]["key"]).status_code == 200
    assert site.post("v3/cancel_subscription", key, key_to_cancel=bought["data"]["key"]).json()["status"] == "success"
    assert site.post("v3/system_load", bought["data"]["key"]).status_code == 401
    models = site.post("v3/dreambooth/buy_model", key, quantity="4").json()
    assert (models["status"], models["purchased_models"], models["available_models"]) == ("success", 0, 0)
    refused = site.http.patch("/api/agents/v1/me", headers={"Authorization": f"Bearer {key}"}, json={"name": "x"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (501, "not_offered")
