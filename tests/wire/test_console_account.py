"""The account's page over HTTP: keys that work and stop working, what was used, and the end of everything."""

from __future__ import annotations

import html
from collections.abc import Iterator

import pytest

from tests.service.pictures import still

from .signed_in import SignedIn, found
from .site import PHOTO, Site

EVIL = "<script>alert(1)</script>"


@pytest.fixture
def browser(site: Site, key: str) -> Iterator[SignedIn]:
    with SignedIn(site, key) as signed_in:
        yield signed_in


def account_name(browser: SignedIn) -> str:
    return html.unescape(found(r"<h1>([^<]+)</h1>", browser.get("/account").text))


def test_a_key_that_was_made_works_until_it_is_revoked(site: Site, browser: SignedIn) -> None:
    made = browser.post("/keys", label=EVIL).text
    secret, number = (
        found(r"<code>(slk_\w{40,})</code>", made),
        found(r'class="new">.*?/keys/(\d+)/name', made.replace("\n", "")),
    )
    assert EVIL not in made
    assert html.escape(EVIL) in made
    assert secret not in browser.get("/account").text
    assert site.http.get("/v1/jobs", headers={"key": secret}).status_code == 200
    assert 'value="painting"' in browser.post(f"/keys/{number}/name", label="painting").text
    browser.post(f"/keys/{number}/revoke")
    assert site.http.get("/v1/jobs", headers={"key": secret}).status_code == 401


def test_keys_of_others_are_not_there(site: Site, key: str, browser: SignedIn) -> None:
    number = site.ask(site.services.accounts.authenticate(key)).key_id
    with SignedIn(site, site.key()) as stranger:
        for path in ("name", "revoke"):
            told = [stranger.post(f"/keys/{each}/{path}", label="taken over") for each in (number, 999_999_999)]
            assert {reply.status_code for reply in told} == {404}
            assert len({reply.text for reply in told}) == 1
    assert "taken over" not in browser.get("/account").text


def test_revoking_the_key_that_one_came_with(browser: SignedIn, site: Site, key: str) -> None:
    number = site.ask(site.services.accounts.authenticate(key)).key_id
    browser.post(f"/keys/{number}/revoke")
    assert browser.get("/account").headers["location"] == "/console/sign-in"


def test_what_was_used(site: Site, browser: SignedIn, key: str) -> None:
    site.made(key, samples=2)
    told = browser.get("/account").text
    assert "2 pictures, 0 s on the engine" in told
    assert ": 2 pictures</title>" in told
    assert "0 of at most 20 jobs" in told
    assert "until you delete it" in told


def test_webhooks_are_told(site: Site, browser: SignedIn, key: str) -> None:
    job = site.made(key, webhook=f"{site.settings.base_url}/nobody/listens")["id"]
    told = browser.get("/account").text
    assert found(r"<code>(\d+)</code></td><td><span class=\"tag \w+\">\w+", told) == str(job)


def test_everything_goes_where_the_name_was_written(site: Site, browser: SignedIn, key: str) -> None:
    picture = site.made(key)["output"][0]
    upload = site.post("v6/base64_to_url", key, base64_string=PHOTO).json()["output"][0]
    with SignedIn(site, site.key()) as other, site.closed_gate():
        theirs = other.make()
        waiting = browser.make({"init": still()})
        for typed in ("", "everything", account_name(other)):
            assert browser.post("/account/erase", typed=typed).status_code == 400
        assert site.http.get(picture).status_code == 200
        receipt = browser.post("/account/erase", typed=account_name(browser)).text
        assert "3 jobs" in receipt
        assert [site.http.get(each).status_code for each in (picture, upload)] == [404, 404]
        assert browser.get(f"/jobs/{waiting}/card").status_code == 404
        assert other.get(f"/jobs/{theirs}/card").status_code == 200
    assert browser.post("/account/erase", typed=account_name(browser)).status_code == 404
    proof = site.http.get(f"/v1/erasures/{found('<code>([0-9a-f-]{36})</code>', receipt)}", headers={"key": key}).json()
    assert proof["scope"] == "account"
