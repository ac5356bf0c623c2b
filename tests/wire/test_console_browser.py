"""The console as a person uses it, in a real browser: one browser and one server, every wait for a condition."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("playwright")
from playwright.sync_api import Browser, Page, expect

from tests.service.pictures import still

from .chromium import chromium, needs_chromium, window
from .site import Site

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


def ask(page: Page, prompt: str, **fields: str) -> None:
    page.get_by_label("Prompt", exact=True).fill(prompt)
    for name, value in {"width": "64", "height": "64", "steps": "8", **fields}.items():
        page.locator(f"#make [name={name}]").fill(value)
    page.get_by_role("button", name="Make").click()


def steps_seen(page: Page) -> None:
    """From now on every text about steps is kept where a test can read it."""
    page.add_init_script(
        """window.seen = new Set(); new MutationObserver(() => {
            for (const each of document.querySelectorAll(".steps")) if (each.textContent) window.seen.add(each.textContent);
        }).observe(document, { subtree: true, childList: true, characterData: true });"""
    )


def test_making_with_and_without_a_picture(
    site: Site, key: str, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site.engine, "step_seconds", 0.5)
    with window(browser, site.settings.base_url) as mine:
        page = mine.page
        steps_seen(page)
        mine.sign_in(key)
        with site.closed_gate():  # until the page follows what it asked for
            ask(page, "a cat", seed="7")
            expect(page.locator("#tray .card .steps")).not_to_be_empty()
        expect(page.locator("#tray .card .preview")).to_be_visible()
        expect(page.locator("#tray .card .pictures img")).to_be_visible()
        seen = [each for each in page.evaluate("[...window.seen]") if each.startswith("step ")]
        assert len(set(seen)) >= 3, seen

        page.set_input_files("#init", {"name": "<b>.png", "mimeType": "image/png", "buffer": still()})
        mask = page.locator("canvas.mask")
        expect(mask).to_be_visible()
        box = mask.bounding_box()
        assert box
        page.mouse.move(box["x"] + 30, box["y"] + 30)
        page.mouse.down()
        page.mouse.move(box["x"] + 80, box["y"] + 60, steps=4)
        page.mouse.up()
        ask(page, "a dog")
        expect(page.locator("#tray .card .pictures img")).to_have_count(2)
        made = page.locator("#tray .card").first
        made.get_by_text("As a program would ask").click()
        expect(made.locator("code").first).to_contain_text("/api/v3/inpaint")

        mine.behaved()


def test_from_the_gallery_to_a_receipt(site: Site, key: str, browser: Browser) -> None:
    one, two, three = (site.made(key, prompt=f"{which} cat")["output"][0] for which in ("first", "second", "third"))
    with window(browser, site.settings.base_url) as mine:
        page = mine.page
        page.on("dialog", lambda dialog: dialog.accept())
        mine.sign_in(key)
        mine.follow(page.get_by_role("link", name="Gallery"), "/console/gallery")
        expect(page.locator(".tile")).to_have_count(3)
        page.get_by_label("Search in your prompts").fill("third")
        expect(page.locator(".tile")).to_have_count(1)
        page.get_by_label("Search in your prompts").fill("cat")
        expect(page.locator(".tile")).to_have_count(3)
        for which in ("first", "second"):
            page.get_by_label(f"Select: {which} cat").check()
        page.get_by_role("button", name="Compare").click()
        expect(page.get_by_alt_text("The second picture")).to_be_visible()
        page.keyboard.press("ArrowLeft")
        page.get_by_role("button", name="Close").click()
        page.get_by_role("button", name="Delete").click()
        expect(page.locator(".receipt")).to_contain_text("2 jobs")
        expect(page.locator(".tile")).to_have_count(1)
        assert [site.http.get(address).status_code for address in (one, two, three)] == [404, 404, 200]

        mine.follow(page.locator(".tile a"), "/console/jobs/*")
        expect(page.get_by_role("heading", name="third cat")).to_be_visible()
        page.get_by_role("button", name="Delete").click()
        expect(page.locator(".receipt")).to_contain_text("Erased")
        assert site.http.get(three).status_code == 404
        mine.behaved()


def test_cancelling(site: Site, key: str, browser: Browser) -> None:
    with site.closed_gate(), window(browser, site.settings.base_url) as mine:
        mine.sign_in(key)
        ask(mine.page, "a cat")
        mine.page.get_by_role("button", name="Cancel").click()
        expect(mine.page.locator(".receipt")).to_contain_text("Erased")
        mine.behaved()
    assert site.ask(site.services.jobs.unfinished(site.ask(site.services.accounts.authenticate(key)))) == 0


def test_a_revoked_key_signs_out(site: Site, key: str, browser: Browser) -> None:
    with window(browser, site.settings.base_url) as mine:
        page = mine.page
        page.on("dialog", lambda dialog: dialog.accept())
        mine.expected.append("401")
        mine.sign_in(key)
        mine.follow(page.get_by_role("link", name="Account"), "/console/account")
        page.get_by_role("button", name="Revoke").click()
        expect(page.locator("#keys button", has_text="Revoke")).to_have_count(0)
        mine.follow(page.get_by_role("link", name="Make"), "/console/sign-in")
        assert site.http.get("/v1/jobs", headers={"key": key}).status_code == 401
        mine.behaved()
