"""How long things are kept, as callers of every dialect and the console say it."""

from __future__ import annotations

import datetime
import time

import httpx
import pytest

from .signed_in import SignedIn
from .site import PHOTO, Json, Site

HOUR, DAY = 3600, 24 * 3600
SMALL: Json = {"prompt": "a cat", "expires_in": HOUR}


def limits(site: Site, key: str) -> list[Json]:
    reply = site.http.get("/v1/retention", headers={"key": key})
    assert reply.status_code == 200
    found: list[Json] = reply.json()["limits"]
    return found


def limit(site: Site, key: str, **fields: object) -> httpx.Response:
    return site.http.put("/v1/retention", json=fields, headers={"key": key})


def life(site: Site, key: str) -> float | None:
    """Of the newest job, once it has ended."""
    while (job := site.http.get("/v1/jobs", headers={"key": key}).json()["jobs"][0])["finished_at"] is None:
        time.sleep(0.05)
    if job["expires_at"] is None:
        return None
    end, expires = (datetime.datetime.fromisoformat(job[name]) for name in ("finished_at", "expires_at"))
    return (expires - end).total_seconds()


ASKED = {
    "modelslab": ("/api/v3/text2img", SMALL | {"width": 64, "height": 64}),
    "tensorslab": ("/v1/images/zimage", SMALL | {"resolution": "64x64"}),
    "openai": ("/v1/images/generations", SMALL | {"size": "64x64"}),
    "a1111": ("/sdapi/v1/txt2img", SMALL | {"width": 64, "height": 64}),
}


@pytest.mark.parametrize("dialect", ASKED)
def test_every_dialect_reads_it(site: Site, key: str, dialect: str) -> None:
    path, body = ASKED[dialect]
    headers = {"Authorization": f"Bearer {key}"}
    assert site.http.post(path, json=body, headers=headers).status_code == 200
    assert life(site, key) == HOUR
    refused = site.http.post(path, json=body | {"expires_in": 5}, headers=headers)
    assert refused.status_code in (400, 422)
    assert "expires_in must be between 60 and" in refused.text


def test_an_account_limits_itself_and_single_keys(site: Site, key: str) -> None:
    assert limits(site, key) == []
    assert limit(site, key, seconds=7 * DAY).json()["limits"] == [
        {"seconds": 7 * DAY, "key_id": None, "set_by": "owner"}
    ]
    site.made(key)
    assert life(site, key) == 7 * DAY
    number = site.ask(site.services.accounts.authenticate(key)).key_id
    limit(site, key, seconds=DAY, key_id=number)
    site.made(key)
    assert life(site, key) == DAY
    assert [each["key_id"] for each in limits(site, key)] == [None, number]
    assert limit(site, key, seconds=None, key_id=number).json()["limits"] == limits(site, key)[:1]
    for wrong in ({}, {"seconds": 1}, {"seconds": "soon"}):
        assert limit(site, key, **wrong).status_code == 400
    assert limit(site, site.key(), seconds=DAY, key_id=number).status_code == 404


def test_an_upload_says_it_too(site: Site, key: str) -> None:
    reply = site.post("v6/base64_to_url", key, base64_string=PHOTO, expires_in=HOUR).json()
    name = reply["output"][0].rpartition("/")[2]
    asset, _ = site.ask(site.services.assets.open(name))
    assert asset.expires_at
    assert round((asset.expires_at - asset.created_at).total_seconds()) == HOUR


def test_the_consoles_account_page(site: Site, key: str) -> None:
    account = site.ask(site.services.accounts.authenticate(key))
    with SignedIn(site, key) as browser:
        assert "until you delete it" in browser.get("/account").text
        assert "Saved." in browser.post("/account/retention", days="2.5").text
        site.ask(site.services.retention.limit(account, DAY, set_by="operator"))
        page = browser.get("/account").text
        assert 'value="2.5"' in page
        assert "by the operator</dt><dd>1 days" in page
        assert "must be between" in browser.post("/account/retention", days="9999").text
        browser.post("/account/retention", days="")
        assert [each["set_by"] for each in limits(site, key)] == ["operator"]
