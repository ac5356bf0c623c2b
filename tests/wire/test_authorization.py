"""Whose is it: every route and verb, asked by strangers. What is another's and what never existed are byte for byte alike."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from safelight.wire.modelslab.routes import TABLE

from .site import PHOTO, Json, Site

NEVER = 999_999_999_999
NOBODY = "05c3260d-6a2e-4aa5-82f0-e952f2a5fa10"

Ask = Callable[[Site, str, Json], httpx.Response]


def _fetch(path: str) -> Ask:
    return lambda site, key, about: site.post(path.format(id=about["id"], server="flux"), key, request_id=about["id"])


ASKS: dict[str, Ask] = {
    **{row.path: _fetch(row.path) for row in TABLE if "fetch" in row.path},
    "delete by id": lambda site, key, about: site.post("v3/delete_image", key, request_id=about["id"]),
    "delete by name": lambda site, key, about: site.post("v3/delete_image", key, image=f"{about['prefix']}-0.png"),
    "info": lambda site, key, about: site.http.post("/v1/images/infobytaskid", json={"key": key, "taskid": about["prefix"]}),
    "info by number": lambda site, key, about: site.http.post(
        "/v1/images/infobytaskid", json={"key": key, "taskid": about["id"]}
    ),
    "delete task": lambda site, key, about: site.http.post(
        "/v1/images/deleteimagestask", json={"key": key, "taskids": [about["prefix"]]}
    ),
    "job": lambda site, key, about: site.http.get(f"/v1/jobs/{about['id']}", headers={"key": key}),
    "job's events": lambda site, key, about: site.http.get(f"/v1/jobs/{about['id']}/events", headers={"key": key}),
    "delete job": lambda site, key, about: site.http.delete(f"/v1/jobs/{about['id']}", headers={"key": key}),
    "delete asset": lambda site, key, about: site.http.delete(f"/v1/assets/{about['id']}", headers={"key": key}),
    "delete asset by name": lambda site, key, about: site.http.delete(f"/v1/assets/{about['prefix']}-0.png", headers={"key": key}),
    "erase": lambda site, key, about: site.http.post("/v1/erasures", json={"key": key, "ids": [about["id"]]}),
    "erase in vain": lambda site, key, about: site.http.post(
        "/v1/erasures", json={"key": key, "ids": [about["id"]], "dry_run": True}
    ),
    "receipts before": lambda site, key, about: site.http.get(f"/v1/erasures?before={about['receipt']}", headers={"key": key}),
    "send a webhook again": lambda site, key, about: site.http.post(
        f"/v1/webhooks/deliveries/{about['delivery']}/replay", headers={"key": key}
    ),
    "receipt": lambda site, key, about: site.http.get(f"/v1/erasures/{about['receipt']}", headers={"key": key}),
}  # fmt: skip


@pytest.fixture(scope="module")
def owner(site: Site) -> str:
    return site.key()


@pytest.fixture(scope="module")
def things(site: Site, owner: str) -> dict[str, Json]:
    """Of one account: a finished generation, a deleted one; and one that never was."""
    told = {"webhook": f"{site.settings.base_url}/nobody/listens"}
    live, dead = site.made(owner, **told), site.made(owner, **told)
    account = site.ask(site.services.accounts.authenticate(owner))
    delivery = {each.job_id: str(each.id) for each in site.ask(site.services.outbox.posted(account))}
    receipt = site.post("v3/delete_image", owner, request_id=dead["id"]).headers["x-safelight-receipt"]
    return {
        "finished": {
            "id": live["id"],
            "prefix": live["meta"]["file_prefix"],
            "receipt": receipt,
            "delivery": delivery[live["id"]],
        },
        "deleted": {
            "id": dead["id"],
            "prefix": dead["meta"]["file_prefix"],
            "receipt": receipt,
            "delivery": delivery[dead["id"]],
        },
        "never": {"id": NEVER, "prefix": NOBODY, "receipt": NOBODY, "delivery": NOBODY},
    }


@pytest.mark.parametrize("name", ASKS)
def test_a_stranger_sees_no_difference(site: Site, owner: str, things: dict[str, Json], name: str) -> None:
    stranger = site.key()
    before = site.holdings()
    told = {kind: ASKS[name](site, stranger, about) for kind, about in things.items()}
    bodies = {_without(reply.text, things[kind]) for kind, reply in told.items()}
    assert len(bodies) == 1, bodies
    assert len({reply.status_code for reply in told.values()}) == 1
    assert told["never"].status_code in (400, 404)
    assert site.holdings() == before
    assert site.post(f"v3/fetch/{things['finished']['id']}", owner).json()["status"] == "success"


@pytest.mark.parametrize("name", ASKS)
def test_without_a_key_there_is_no_answer_at_all(site: Site, things: dict[str, Json], name: str) -> None:
    revoked = site.key()
    site.ask(site.services.accounts.revoke_key(revoked[:12]))
    for key in ("", "wrong", revoked):
        told = {kind: ASKS[name](site, key, about) for kind, about in things.items()}
        assert {reply.status_code for reply in told.values()} == {401}
        assert len({reply.text for reply in told.values()}) == 1


def test_every_route_of_the_table_wants_a_key(site: Site) -> None:
    for row in TABLE:
        for method in row.methods:
            reply = site.http.request(method, f"/api/{row.path.format(id=1, server='flux', name='plain')}")
            assert (reply.status_code, reply.json()["message"]) == (401, "API key required"), row.path


def test_a_cleared_cache_is_ones_own(site: Site, owner: str) -> None:
    mine = site.post("v6/base64_to_url", owner, base64_string=PHOTO).json()["output"][0]
    site.post("v5/clear_cache", site.key())
    assert site.http.get(mine).status_code == 200


def _without(text: str, about: Json) -> str:
    return text.replace(about["prefix"], "it").replace(str(about["id"]), "it")
