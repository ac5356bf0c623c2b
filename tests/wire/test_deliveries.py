"""Webhooks as their owner sees them: listed page by page, and sent again by the API and by the console's account page."""

from __future__ import annotations

import asyncio
import time
from typing import cast

import pytest

from tests.service.receiver import Receiver, answer, receiver

from .signed_in import SignedIn
from .site import Json, Site

pytestmark = pytest.mark.anyio

PATH = "/v1/webhooks/deliveries"


def listed(site: Site, key: str, **query: str | int) -> Json:
    reply = site.http.get(PATH, params={"key": key, **query})
    assert reply.status_code == 200, reply.text
    return cast(Json, reply.json())


def eventually(site: Site, key: str, state: str) -> Json:
    """The only delivery of the account, once it stands so."""
    deadline = time.monotonic() + 60
    while not (found := listed(site, key, state=state)["deliveries"]):
        assert time.monotonic() < deadline, listed(site, key)
        time.sleep(0.05)
    return cast(Json, found[0])


async def test_what_was_given_up_is_sent_again(site: Site, key: str) -> None:
    async with receiver(answer(status=410), answer(), answer()) as here:
        await asyncio.to_thread(sent_thrice, site, key, here)


def sent_thrice(site: Site, key: str, here: Receiver) -> None:
    job = site.made(key, webhook=here.url)["id"]
    dead = eventually(site, key, "dead")
    assert (dead["job_id"], dead["attempts"], dead["last_status"]) == (job, 1, 410)
    again = site.http.post(f"{PATH}/{dead['id']}/replay", headers={"key": key}).json()
    assert (again["id"], again["state"], again["attempts"]) == (dead["id"], "waiting", 0)
    eventually(site, key, "delivered")
    with SignedIn(site, key) as browser:
        assert f"/console/webhooks/{dead['id']}/replay" in browser.get("/account").text
        assert 'class="tag waiting"' in browser.post(f"/webhooks/{dead['id']}/replay").text
    eventually(site, key, "delivered")
    assert [each.headers["webhook-id"] for each in here.received] == [dead["id"]] * 3


def test_pages_go_on_where_the_one_before_ended(site: Site, key: str) -> None:
    jobs = [site.made(key, webhook=f"{site.settings.base_url}/nobody/listens")["id"] for _ in range(3)]
    first = listed(site, key, limit=2)
    rest = listed(site, key, limit=2, before=first["next"])
    assert [each["job_id"] for each in (*first["deliveries"], *rest["deliveries"])] == sorted(jobs, reverse=True)
    assert rest["next"] is None
    assert listed(site, site.key()) == {"deliveries": [], "next": None}
    assert site.http.get(PATH, params={"key": key, "state": "lost"}).status_code == 400
