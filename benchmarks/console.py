"""What the console costs a browser: bytes and requests of its pages, the first paint, and from the press of Make to the picture. Beside a
page of one word by the same server, which says what this browser and this machine take for any page.

Run: python -m benchmarks.console --out run/console.json
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.load import served

PAGES = {
    "a page of one word": "/healthz",
    "sign in": "/console/sign-in",
    "make": "/console",
    "gallery": "/console/gallery",
    "account": "/console/account",
    "operator": "/console/operator",
}
PATIENCE = 120_000.0  # milliseconds
PAINTED = "performance.getEntriesByName('first-contentful-paint').length > 0"
MEASURE = """() => {
    const [page] = performance.getEntriesByType("navigation"), parts = performance.getEntriesByType("resource");
    return {
        first_paint: performance.getEntriesByName("first-contentful-paint")[0].startTime,
        answered: page.responseStart,
        bytes: [page, ...parts].reduce((sum, each) => sum + each.transferSize, 0),
        requests: 1 + parts.length,
    };
}"""


@dataclass(frozen=True)
class Load:
    """One load of a page, in milliseconds and bytes on the wire."""

    first_paint: float
    answered: float
    bytes: int
    requests: int


@contextmanager
def signed_in(browser: Browser, home: str, key: str) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1440, "height": 900}, bypass_csp=True)  # Playwright polls by eval
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(f"{home}/console/sign-in")
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{home}/console")
    yield page
    context.close()


def load(page: Page, address: str) -> Load:
    page.goto(address, wait_until="load")
    page.wait_for_function(PAINTED)
    return Load(**page.evaluate(MEASURE))


def loads(browser: Browser, home: str, key: str, path: str, rounds: int, *, cold: bool) -> list[Load]:
    """With nothing of ours in the browser's cache, or with what earlier looks left there."""
    found = []
    with signed_in(browser, home, key) as page:
        session = page.context.new_cdp_session(page)
        for _ in range(rounds):
            if cold:
                session.send("Network.clearBrowserCache")
            found.append(load(page, home + path))
    return found


def pictures(browser: Browser, home: str, key: str, rounds: int, wanted: dict[str, str]) -> dict[str, list[float]]:
    """Seconds from the press of Make to the first preview, and to the finished picture on the page."""
    times: dict[str, list[float]] = {"preview": [], "picture": []}
    with signed_in(browser, home, key) as page:
        for number in range(rounds):
            page.get_by_label("Prompt", exact=True).fill(f"a red apple, number {number}")
            for name, value in wanted.items():
                page.locator(f"#make [name={name}]").fill(value)
            began = time.perf_counter()
            page.get_by_role("button", name="Make").click()
            page.wait_for_function(f"document.querySelectorAll('#tray .card').length > {number}")
            page.wait_for_function(
                "document.querySelector('#tray .card:first-child :is(.preview:not([hidden]), .pictures img)')"
            )
            times["preview"].append(time.perf_counter() - began)
            page.wait_for_function(
                "(img => img && img.complete && img.naturalWidth)(document.querySelector('#tray .card:first-child .pictures img'))"
            )
            times["picture"].append(time.perf_counter() - began)
    return times


def summary(found: list[Load]) -> dict[str, float]:
    rows = [asdict(each) for each in found]
    return {name: round(statistics.median(row[name] for row in rows), 1) for name in rows[0]} | {
        "slowest first_paint": round(max(row["first_paint"] for row in rows), 1)
    }


def main() -> None:
    read = argparse.ArgumentParser(description=__doc__)
    read.add_argument("--rounds", type=int, default=15)
    read.add_argument("--pictures", type=int, default=5)
    read.add_argument("--size", type=int, default=512)
    read.add_argument("--steps", type=int, default=20)
    read.add_argument("--out", type=Path, default=Path("run/console.json"))
    given = read.parse_args()
    given.out.parent.mkdir(parents=True, exist_ok=True)
    wanted = {"width": str(given.size), "height": str(given.size), "steps": str(given.steps)}
    busy = round(os.getloadavg()[0], 1)
    with served(given.out.with_suffix(".log")) as server, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        home, key = server.url, server.key
        times = pictures(browser, home, key, given.pictures, wanted)
        figures: dict[str, object] = {
            f"{name}, {'cold' if cold else 'warm'}": summary(loads(browser, home, key, path, given.rounds, cold=cold))
            for name, path in PAGES.items()
            for cold in (True, False)
        }
        browser.close()
    figures["seconds to the first preview"] = [round(each, 2) for each in times["preview"]]
    figures["seconds to the picture"] = [round(each, 2) for each in times["picture"]]
    figures["load average before and after"] = [busy, round(os.getloadavg()[0], 1)]
    given.out.write_text(json.dumps(figures, indent=1))
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
