"""Every page of the console, light and dark, wide and on a phone: axe-core finds nothing serious, and a picture of it is kept."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright")
from playwright.sync_api import Browser, Page, expect

from tests.service.pictures import still

from .chromium import chromium, needs_chromium, window
from .site import Site

pytestmark = needs_chromium
AXE = (Path(__file__).parent / "axe-core" / "axe.min.js").read_text()
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
SERIOUS = ("serious", "critical")
PAGES = ("", "/gallery", "/account", "/operator")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


def complaints(page: Page) -> list[str]:
    page.evaluate(AXE)
    found: Any = page.evaluate("rules => axe.run({ runOnly: rules })", RULES)
    return [
        f"{each['id']}: {node['html'][:200]} {node['failureSummary'][:300]}"
        for each in found["violations"]
        if each["impact"] in SERIOUS
        for node in each["nodes"]
    ]


@pytest.mark.parametrize(("scheme", "phone"), [("light", True), pytest.param("dark", False, marks=pytest.mark.slow)])
def test_nothing_serious(site: Site, browser: Browser, tmp_path: Path, scheme: str, phone: bool) -> None:
    """Pictures go to the folder that SAFELIGHT_PICTURES names, where it is set."""
    shots, kind = Path(os.environ.get("SAFELIGHT_PICTURES", tmp_path)), f"{scheme}{'-phone' if phone else ''}"
    key = site.operator_key()
    job = site.made(key, prompt="a cat in the rain", samples=2)["id"]
    with window(browser, site.settings.base_url, scheme, phone=phone) as mine:
        page = mine.page
        page.goto(f"{mine.home}/console/sign-in")
        found = {"sign-in": complaints(page)}
        mine.sign_in(key)
        for path in (*PAGES, f"/jobs/{job}"):
            page.goto(f"{mine.home}/console{path}")
            expect(page.locator("main")).to_be_visible()
            if not path:
                page.set_input_files("#init", {"name": "a.png", "mimeType": "image/png", "buffer": still()})
                expect(page.locator("canvas.mask")).to_be_visible()
                page.get_by_text("As a program would ask").first.click()
            found[path] = complaints(page)
            page.screenshot(path=shots / f"{path.strip('/').partition('/')[0] or 'make'}-{kind}.png", full_page=True)
            wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert wide <= 0, f"{path} is {wide} pixels wider than its window"
        assert {path: said for path, said in found.items() if said} == {}
        mine.behaved()
