"""The gallery over HTTP: what is found in it, in pages, and that it is one's own."""

from __future__ import annotations

import html
from collections.abc import Iterator
from io import BytesIO

import pytest
from PIL import Image

from safelight.wire.console import gallery
from tests.service.pictures import still

from .signed_in import SignedIn, found
from .site import Site


@pytest.fixture
def browser(site: Site, key: str) -> Iterator[SignedIn]:
    with SignedIn(site, key) as signed_in:
        yield signed_in


def tiles(page: str) -> list[int]:
    return [int(part.partition('"')[0]) for part in page.split('id="tile-')[1:]]


def test_page_by_page_and_searched(browser: SignedIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery, "TILES", 2)
    jobs = [browser.made(prompt=f"a {what}") for what in ("cat", "dog", "cat")]
    first = browser.get("/gallery").text
    assert tiles(first) == jobs[:0:-1]
    more = html.unescape(found(r'hx-get="/console(/gallery[?][^"]*before=[^"]+)"', first))
    rest = browser.get(more, **{"HX-Request": "true"}).text
    assert (tiles(rest), "<html" in rest) == ([jobs[0]], False)
    assert tiles(browser.get("/gallery?search=cat").text) == [jobs[2], jobs[0]]
    assert tiles(browser.get("/gallery?until=2001-01-01").text) == []
    assert tiles(browser.get("/gallery?task=generate&since=2001-01-01").text) == jobs[:0:-1]
    assert browser.get("/gallery?task=unheard").status_code == 400


def test_what_failed_or_waits_is_not_shown(site: Site, browser: SignedIn) -> None:
    browser.made(prompt="a mistake")
    with site.closed_gate():
        waiting = browser.make()
        assert tiles(browser.get("/gallery").text) == []
        browser.post(f"/jobs/{waiting}/erase")


def test_small_pictures_are_ones_own(site: Site, browser: SignedIn) -> None:
    browser.made(width=512, height=256)
    address = found(r'src="/console(/thumbs/[^"]+)"', browser.get("/gallery").text)
    with Image.open(BytesIO(browser.get(address).content)) as picture:
        assert (picture.format, picture.size) == ("WEBP", (384, 192))
    with SignedIn(site, site.key()) as stranger:
        refused, never = stranger.get(address), stranger.get("/thumbs/05c3260d-6a2e-4aa5-82f0-e952f2a5fa10-0.png")
    assert (refused.status_code, refused.text) == (404, never.text)


def test_every_setting_is_told(browser: SignedIn) -> None:
    job = browser.made({"init": still()}, prompt="a <b>", negative_prompt="fog", seed=9, strength=0.5, lora_1="0.5")
    told = browser.get(f"/jobs/{job}").text
    for word in ("a &lt;b&gt;", "fog", "64 × 64", "of which 2 were run", "wash at 0.5", "plain", "from a picture"):
        assert word in told, word


def test_erasing_many_is_all_or_nothing(site: Site, browser: SignedIn) -> None:
    mine = [browser.made(), browser.made()]
    with SignedIn(site, site.key()) as other:
        theirs = other.made()
        refused = browser.post("/erase", ids=f"{mine[0]},{theirs}")
        assert (refused.status_code, other.get(f"/jobs/{theirs}").status_code) == (404, 200)
    assert tiles(browser.get("/gallery").text) == mine[::-1]
    reply = browser.post("/erase", ids=",".join(map(str, mine)))
    assert "2 jobs" in reply.text
    assert reply.headers["hx-trigger"] == f'{{"erased": {{"ids": {mine}}}}}'
    assert tiles(browser.get("/gallery").text) == []
    assert browser.post("/erase", ids="1;2").status_code == 400
