"""The console over HTTP: signing in and out, what is made, and the attacks that pages of elsewhere and strangers try."""

from __future__ import annotations

import html
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from safelight.app import console_address
from safelight.service import sessions
from safelight.wire.console.pages import POLICY, STATIC
from safelight.wire.console.routes import FORMS, PAGES
from tests.service.pictures import still

from .signed_in import SignedIn, found
from .site import Site

NEVER = "999999999999"
EVIL = '"><script>alert(1)</script><img src=x onerror=alert(2)>'


@pytest.fixture
def browser(site: Site, key: str) -> Iterator[SignedIn]:
    with SignedIn(site, key) as signed_in:
        yield signed_in


def visit(site: Site, path: str = "", **headers: str) -> httpx.Response:
    return httpx.get(f"{site.settings.base_url}/console{path}", headers={"Accept": "text/html", **headers})


def knock(site: Site, key: str, **headers: str) -> httpx.Response:
    given = {"Origin": site.settings.base_url, **headers}
    return httpx.post(f"{site.settings.base_url}/console/sign-in", data={"key": key}, headers=given)


def test_signing_in_by_key(site: Site, key: str) -> None:
    cookie = knock(site, key).headers["set-cookie"]
    assert all(part in cookie for part in ("HttpOnly", "SameSite=strict", "Path=/console"))
    assert key not in cookie
    refused = knock(site, "slk_wrong")
    assert (refused.status_code, "set-cookie" in refused.headers) == (401, False)
    assert "No account has this key" in refused.text


def test_without_a_session_pages_lead_to_the_door_and_nothing_else_answers(site: Site) -> None:
    assert visit(site).headers["location"] == "/console/sign-in"
    assert visit(site, "/sign-in").status_code == 200
    for path in PAGES:
        assert visit(site, path.format(id=1, name="x"), Accept="*/*").status_code == 401, path
    for path in FORMS:
        address = f"{site.settings.base_url}/console{path.format(id=1, name='x')}"
        assert httpx.post(address, headers={"Origin": site.settings.base_url}).status_code == 401, path


def test_every_answer_is_for_this_page_alone(site: Site, browser: SignedIn) -> None:
    for reply in (
        browser.get(""),
        visit(site),
        visit(site, "/sign-in"),
        browser.get("/nowhere"),
        browser.post("/make"),
    ):
        assert reply.headers["content-security-policy"] == POLICY
        assert (reply.headers["x-frame-options"], reply.headers["cache-control"]) == ("DENY", "no-store")
        assert reply.headers["cross-origin-resource-policy"] == "same-origin"
        assert "access-control-allow-origin" not in reply.headers
    assert "'unsafe" not in POLICY
    assert "frame-ancestors 'none'" in POLICY


def test_a_session_that_was_given_is_not_taken(site: Site, key: str) -> None:
    fixed = "chosen-by-somebody-else"
    cookie = knock(site, key, Cookie=f"safelight={fixed}").headers["set-cookie"]
    assert fixed not in cookie
    assert visit(site, Cookie=f"safelight={fixed}").status_code == 303


@pytest.mark.parametrize("origin", ["https://elsewhere.example", "null", ""])
def test_a_page_of_elsewhere_can_change_nothing(browser: SignedIn, site: Site, key: str, origin: str) -> None:
    job = browser.made()
    asked = {"X-CSRF-Token": browser.csrf, "Origin": origin}
    assert browser.http.post(f"/console/jobs/{job}/erase", headers=asked).status_code == 403
    assert knock(site, key, Origin=origin).status_code == 403
    across = {"X-CSRF-Token": browser.csrf, "Sec-Fetch-Site": "cross-site"}
    assert browser.http.post(f"/console/jobs/{job}/erase", headers=across).status_code == 403
    assert browser.http.post(f"/console/jobs/{job}/erase").status_code == 403
    assert browser.http.post(f"/console/jobs/{job}/erase", data={"csrf": "guessed"}).status_code == 403
    assert browser.get(f"/jobs/{job}/card").status_code == 200


def test_a_name_that_was_made_to_lead_here_shows_nothing(site: Site, browser: SignedIn) -> None:
    for host in ("rebound.example", "rebound.example:8000", "127.0.0.1.nip.example", ""):
        told = browser.get("", Host=host)
        assert told.status_code in (400, 403), host
        assert "X-CSRF-Token" not in told.text
    for host in ("localhost:9", "127.0.0.1", "[::1]:8000", "192.168.1.7"):
        assert browser.get("", Host=host).status_code == 200, host


def test_signing_out(site: Site, key: str) -> None:
    with SignedIn(site, key) as one, SignedIn(site, key) as other, SignedIn(site, site.key()) as stranger:
        assert one.http.post("/console/sign-out", data={"csrf": one.csrf}).status_code == 303
        assert (one.get("").status_code, other.get("").status_code) == (303, 200)
        with SignedIn(site, key) as third:
            third.http.post("/console/sign-out", data={"csrf": third.csrf, "everywhere": "yes"})
        assert (other.get("").status_code, stranger.get("").status_code) == (303, 200)


def test_a_revoked_key_signs_out(site: Site, key: str, browser: SignedIn) -> None:
    site.ask(site.services.accounts.revoke_key(key[:12]))
    assert browser.get("").status_code == 303
    assert browser.post("/make", prompt="x").headers["hx-redirect"] == "/console/sign-in"


def test_a_session_ends_by_itself(site: Site, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "SESSION_SECONDS", -1.0)
    token = site.ask(site.services.sessions.begin(site.ask(site.services.accounts.authenticate(key))))
    assert visit(site, Cookie=f"safelight={token}").status_code == 303


def test_a_ticket_signs_in_once(site: Site, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    account = site.ask(site.services.accounts.authenticate(key))
    ticket = site.services.sessions.ticket(account)
    assert "set-cookie" in visit(site, f"/enter?ticket={ticket}").headers
    assert "set-cookie" not in visit(site, f"/enter?ticket={ticket}").headers
    monkeypatch.setattr(sessions, "TICKET_SECONDS", -1.0)
    assert "set-cookie" not in visit(site, f"/enter?ticket={site.services.sessions.ticket(account)}").headers


def test_where_there_is_no_console_no_address_of_it_is_told(site: Site) -> None:
    site.operator_key()
    address = site.ask(console_address(site.settings, site.services))
    assert address
    assert "/console/enter?ticket=" in address
    without = site.settings.model_copy(update={"dialects": site.settings.dialects - {"console"}})
    assert site.ask(console_address(without, site.services)) is None


def test_made_followed_and_made_again(browser: SignedIn) -> None:
    job = browser.make(seed=7, sampler="Euler a", samples=2)
    events = browser.events(job)
    assert "event: done" in events
    card = browser.get(f"/jobs/{job}/card").text
    assert "seed 7" in card
    assert browser.http.get(found(r'<img src="(/generations/[^"]+)"', card)).headers["content-type"] == "image/png"
    again = browser.post(f"/jobs/{job}/again").text
    assert found(r'id="job-(\d+)"', again) != str(job)
    assert "seed 7" not in again
    assert f"job-{job}" in browser.get("").text


def test_again_starts_from_the_same_picture(browser: SignedIn, site: Site) -> None:
    pictures = {"init": still(), "mask": still()}
    job = browser.made(pictures, strength=0.5)
    again = int(found(r'id="job-(\d+)"', browser.post(f"/jobs/{job}/again").text))
    assert "event: done" in browser.events(again)
    browser.post(f"/jobs/{job}/erase")
    assert browser.post(f"/jobs/{job}/again").status_code == 404


def test_enlarging_what_was_made(site: Site, browser: SignedIn) -> None:
    job = browser.made()
    name = found(r"/pictures/([^/]+)/enlarge", browser.get(f"/jobs/{job}/card").text)
    with SignedIn(site, site.key()) as stranger:
        refused = [stranger.post(f"/pictures/{each}/enlarge") for each in (name, "never.png")]
        assert [reply.status_code for reply in refused] == [404, 404]
        assert refused[0].text == refused[1].text
    larger = found(r'id="job-(\d+)"', browser.post(f"/pictures/{name}/enlarge").text)
    assert "event: done" in browser.events(int(larger))
    assert "Enlarged to 128 × 128" in browser.get(f"/jobs/{larger}").text
    assert f"tile-{larger}" in browser.get("/gallery?task=upscale").text


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"prompt": " "}, "prompt is required"),
        ({"prompt": "x", "width": "65"}, "width must be divisible by 8"),
        ({"prompt": "x", "steps": "9999"}, "steps must be between"),
        ({"prompt": "x", "sampler": "Nobody"}, "sampler must be one of"),
    ],
)
def test_what_is_wrong_is_said_in_its_place(browser: SignedIn, fields: dict[str, str], said: str) -> None:
    reply = browser.post("/make", None, **fields)
    assert (reply.status_code, reply.headers["hx-retarget"]) == (400, "#notice")
    assert said in html.unescape(reply.text)
    assert "init is not a PNG" in html.unescape(browser.post("/make", {"init": b"no picture"}, prompt="x").text)


def test_words_are_words_and_never_markup(browser: SignedIn) -> None:
    job = browser.made(prompt=EVIL, negative_prompt=EVIL)
    for page in (browser.get("").text, browser.get(f"/jobs/{job}/card").text, browser.get(f"?like={job}").text):
        assert html.escape("<script>alert(1)") in page
        assert "<script>alert" not in page
        assert "<img src=x" not in page
    assert EVIL not in browser.get(f"?use={EVIL}").text


def test_cancelling_erases_and_shows_the_receipt(site: Site, browser: SignedIn) -> None:
    with site.closed_gate():
        job = browser.make()
        receipt = browser.post(f"/jobs/{job}/erase").text
    assert "Receipt" in receipt
    assert browser.get(f"/jobs/{job}/card").status_code == 404


@pytest.mark.parametrize("path", sorted({path for path in (*PAGES, *FORMS) if "{id}" in path}))
def test_a_stranger_sees_no_difference(site: Site, browser: SignedIn, path: str) -> None:
    job = browser.made()
    with SignedIn(site, site.key()) as stranger:
        ask = stranger.post if path in FORMS else stranger.get
        told = [ask(path.format(id=each)) for each in (job, NEVER, "x")]
    assert {reply.status_code for reply in told} == {404}
    assert len({reply.text for reply in told}) == 1
    assert browser.get(f"/jobs/{job}/card").status_code == 200


@pytest.mark.parametrize("name", sorted(STATIC))
def test_what_pages_load_is_here(site: Site, name: str) -> None:
    reply = visit(site, f"/static/{name}")
    assert (reply.status_code, reply.headers["x-content-type-options"]) == (200, "nosniff")
    assert visit(site, "/static/../routes.py").status_code == 404


@pytest.mark.skipif(not shutil.which("curl") or not shutil.which("bash"), reason="no curl here")
@pytest.mark.parametrize("from_picture", [False, True])
def test_the_lines_shown_make_the_same_picture(site: Site, key: str, tmp_path: Path, from_picture: bool) -> None:
    """Whatever stands in a prompt, and whoever pastes it."""
    files = {"init": still(), "mask": still()} if from_picture else {}
    for name, data in files.items():
        (tmp_path / f"{name}.png").write_bytes(data)
    with SignedIn(site, key) as browser:
        job = browser.made(files, prompt='it\'s $HOME `id` \\ "q"\n!', seed=5, sampler="DPM++ 2M Karras", lora_0="0.5")
        card = browser.get(f"/jobs/{job}/card").text
        picture = browser.http.get(found(r'<img src="(/generations/[^"]+)"', card)).content
    shell, python = [html.unescape(each.partition("</code>")[0]) for each in card.split("<pre ")[1:]]
    shell, python = shell.partition("<code>")[2], python.partition("<code>")[2]
    told = {**os.environ, "KEY": key}
    for words in (["bash", "-c", shell], [sys.executable, "-c", python]):
        said = subprocess.run(words, env=told, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)
        address = found(r"(http://[^\"' ]+\.png)", said.stdout.replace("\\/", "/"))
        assert httpx.get(address).content == picture
