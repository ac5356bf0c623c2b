"""Debian's Chromium, driven by Playwright, and what no page of ours may do in it: complain, or ask another host for anything."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, Request, expect, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PATIENCE = 60_000.0  # milliseconds

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")


@contextmanager
def chromium() -> Iterator[Browser]:
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"])
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Window:
    """A page in a context of its own, and what it was heard to say and seen to ask for. ``expected`` is what a test provokes."""

    page: Page
    home: str
    expected: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.page.set_default_timeout(PATIENCE)
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", self._see)

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not any(each in message.text for each in self.expected):
            self.complaints.append(message.text)

    def _see(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme in ("http", "https", "ws", "wss"):
            self.hosts.add(parts.netloc)

    def sign_in(self, key: str) -> None:
        self.page.goto(f"{self.home}/console")
        self.page.get_by_label("API key").fill(key)
        self.page.get_by_role("button", name="Sign in").click()
        self.arrive("/console")

    def follow(self, link: Locator, path: str) -> None:
        link.click()
        self.arrive(path)

    def arrive(self, path: str) -> None:
        """Not before the page's scripts have run: what is pressed earlier nobody hears."""
        self.page.wait_for_url(self.home + path, wait_until="load")

    def behaved(self) -> None:
        assert self.complaints == []
        assert self.hosts == {urlsplit(self.home).netloc}


@contextmanager
def window(browser: Browser, home: str, scheme: str = "dark", *, phone: bool = False) -> Iterator[Window]:
    size = {"width": 390, "height": 844} if phone else {"width": 1440, "height": 900}
    context = browser.new_context(color_scheme=scheme, viewport=size, reduced_motion="reduce")  # type: ignore[arg-type]
    try:
        yield Window(context.new_page(), home)
    finally:
        context.close()
