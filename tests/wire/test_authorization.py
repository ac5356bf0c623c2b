"""Whose is it: every route and verb, asked by strangers. What is another's and what never existed are byte for byte alike."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import pytest
from starlette.routing import Route

from safelight.wire import server
from safelight.wire.modelslab.routes import TABLE

from .asks import BY_BODY, BY_BROWSER, BY_PATH, MODELS, OPEN, PLANS
from .signed_in import SignedIn
from .site import PHOTO, Json, Site

NEVER = 999_999_999_999
NOBODY = "05c3260d-6a2e-4aa5-82f0-e952f2a5fa10"
ASKS = BY_PATH | BY_BODY
SERVERS = re.compile(
    r" /api/v1/enterprise/\{server\}/(?!.*fetch)"
)  # which of several servers is spoken to, by fixed words


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
    same = {"receipt": receipt, "key_id": account.key_id}
    return {
        "finished": _named(live["id"], live["meta"]["file_prefix"]) | same | {"delivery": delivery[live["id"]]},
        "deleted": _named(dead["id"], dead["meta"]["file_prefix"]) | same | {"delivery": delivery[dead["id"]]},
        "never": _named(NEVER, NOBODY) | {"receipt": NOBODY, "delivery": NOBODY, "key_id": NEVER},
    }


@pytest.fixture(scope="module")
def stranger(site: Site) -> Iterator[SignedIn]:
    with SignedIn(site, site.key()) as browser:
        yield browser


def test_every_route_that_takes_an_id_is_asked(site: Site) -> None:
    """From the route table, so that a new one is not forgotten."""
    routes = [route for route in server.create(site.services).router.routes if isinstance(route, Route)]
    named = [route for route in routes if "{" in route.path]
    found = {f"{method} {route.path}" for route in named for method in (route.methods or set()) - {"HEAD"}}
    of_one = {route for route in found - BY_BODY.keys() if not SERVERS.search(route)}
    assert of_one == (BY_PATH.keys() | BY_BROWSER.keys() | OPEN | MODELS | PLANS) - {"many tiles"}


@pytest.mark.parametrize("name", ASKS)
def test_a_stranger_sees_no_difference(site: Site, owner: str, things: dict[str, Json], name: str) -> None:
    stranger = site.key()
    before = site.holdings()
    _check_alike({kind: ASKS[name](site, stranger, about) for kind, about in things.items()}, things)
    assert site.holdings() == before
    assert site.post(f"v3/fetch/{things['finished']['id']}", owner).json()["status"] == "success"


@pytest.mark.parametrize("name", BY_BROWSER)
def test_nor_does_a_strangers_browser(
    site: Site, owner: str, things: dict[str, Json], stranger: SignedIn, name: str
) -> None:
    before = site.holdings()
    _check_alike({kind: BY_BROWSER[name](stranger, about) for kind, about in things.items()}, things)
    assert site.holdings() == before
    assert site.post(f"v3/fetch/{things['finished']['id']}", owner).json()["status"] == "success"


@pytest.mark.parametrize("name", ASKS)
def test_without_a_key_there_is_no_answer_at_all(site: Site, things: dict[str, Json], name: str) -> None:
    revoked = site.key()
    site.ask(site.services.accounts.revoke_key(revoked[:12]))
    for key in ("", "wrong", revoked):
        told = {kind: ASKS[name](site, key, about) for kind, about in things.items()}
        assert {reply.status_code for reply in told.values()} == {401}
        assert len({_without(reply.text, things[kind]) for kind, reply in told.items()}) == 1


def test_every_route_of_the_table_wants_a_key(site: Site) -> None:
    for row in TABLE:
        for method in row.methods:
            reply = site.http.request(method, f"/api/{row.path.format(id=1, server='flux', name='plain')}")
            assert (reply.status_code, reply.json()["message"]) == (401, "API key required"), row.path


def test_a_cleared_cache_is_ones_own(site: Site, owner: str) -> None:
    mine = site.post("v6/base64_to_url", owner, base64_string=PHOTO).json()["output"][0]
    site.post("v5/clear_cache", site.key())
    assert site.http.get(mine).status_code == 200


def _named(number: int, prefix: str) -> Json:
    return {"id": number, "prefix": prefix, "name": f"{prefix}-0.png"}


def _check_alike(told: dict[str, httpx.Response], things: dict[str, Json]) -> None:
    bodies = {_without(reply.text, things[kind]) for kind, reply in told.items()}
    assert len(bodies) == 1, bodies
    assert len({_headers(reply) for reply in told.values()}) == 1
    assert told["never"].status_code in (400, 404)


def _headers(reply: httpx.Response) -> tuple[object, ...]:
    return reply.status_code, *sorted(set(reply.headers) - {"date"}), reply.headers.get("content-type")


def _without(text: str, about: Json) -> str:
    """Ids of things and of requests are the only difference that there may be."""
    for name in ("name", "prefix", "receipt", "delivery", "id"):
        text = text.replace(str(about[name]), "it")
    return re.sub(r'"request_id":\s*"[^"]*"', "", text)
