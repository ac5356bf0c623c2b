"""The operator's page over HTTP: for operators alone, what it tells, and that no words of anybody's request are in it."""

from __future__ import annotations

import html
import re
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from safelight.engine.generation import Generation
from safelight.wire.console.operator import ACCOUNTS
from safelight.wire.console.plots import HEIGHT, WIDTH, plot
from safelight.wire.console.routes import FORMS, PAGES
from tests.engine.checkpoints import write_sd1

from .signed_in import SignedIn, found
from .site import Site

OPERATORS = sorted(path for path in (*PAGES, *FORMS) if path.startswith("/operator"))


@pytest.fixture
def operator(site: Site) -> Iterator[SignedIn]:
    with SignedIn(site, site.operator_key()) as signed_in:
        yield signed_in


def until(holds: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


@pytest.mark.parametrize("path", OPERATORS)
def test_an_ordinary_key_is_refused(site: Site, key: str, path: str) -> None:
    with SignedIn(site, key) as browser:
        reply = browser.post(path) if path in FORMS else browser.get(path)
        assert (reply.status_code, "operator" in reply.text) == (403, True)
        assert "/console/operator" not in browser.get("").text


def test_the_house_is_told(site: Site, operator: SignedIn) -> None:
    told = operator.get("/operator").text
    for word in ("being made", "Pictures an hour", "plain", "ink", "Give a key", "Doctor"):
        assert word in told, word


def test_who_waits_and_what_failed_without_their_words(site: Site, operator: SignedIn, key: str) -> None:
    name = site.ask(site.services.accounts.authenticate(key)).name
    with SignedIn(site, key) as browser:
        failed = browser.made(prompt="a mistake with a secret word")
    with site.closed_gate():
        site.held_back(key, prompt="another secret word")
        told = operator.get("/operator").text
    queue = told.partition("The queue by account")[2].partition("</table>")[0]
    assert f"<td>{name}</td>" in queue
    row = told.partition(f"<code>{failed}</code>")[2].partition("</tr>")[0]
    assert name in row
    assert "secret word" not in told


def test_a_key_for_an_account(site: Site, operator: SignedIn) -> None:
    made = operator.post("/operator/keys", account="<new> team").text
    secret = found(r"<code>(slk_\w+)</code>", made)
    assert html.escape("<new> team") in made
    assert site.ask(site.services.accounts.authenticate(secret)).name == "<new> team"
    assert operator.post("/operator/keys", account=" ").status_code == 400


def test_accounts_are_found_by_name_and_shown_some_at_a_time(site: Site, operator: SignedIn) -> None:
    team, shown = f"team {secrets.token_hex(4)}", []
    for number in range(ACCOUNTS + 5):
        site.ask(site.services.accounts.create_account(f"{team} {number}"))
    told = operator.get(f"/operator/accounts?named={team.upper()}").text
    while more := re.search(r'hx-get="/console([^"]+)"', told):
        shown.append(told.count(f"<td>{team} "))
        told = operator.get(html.unescape(more[1])).text
    assert [*shown, told.count(f"<td>{team} ")] == [ACCOUNTS, 5]
    assert "No account" in operator.get(f"/operator/accounts?named={team}%20x").text


def test_limits_of_an_account(site: Site, operator: SignedIn, key: str) -> None:
    account = site.ask(site.services.accounts.authenticate(key))
    assert "may have 7 jobs at a time" in operator.post("/operator/limits", account=account.name, jobs=7).text
    told = operator.post("/operator/limits", account=account.name, gigabytes="1.5").text
    assert "7 jobs at a time, and keep 1.5 GB" in told
    with SignedIn(site, key) as browser:
        assert "of at most 7 jobs" in browser.get("/account").text
    assert "as many jobs as others" in operator.post("/operator/limits", account=account.name, jobs="").text
    for wrong in ({"account": "nobody at all", "jobs": 1}, {"jobs": 1}, {"account": account.name, "jobs": -1}):
        assert operator.post("/operator/limits", **wrong).status_code in (400, 404)


def test_a_checkpoint_is_added_by_its_path_used_and_removed(
    site: Site, operator: SignedIn, key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str | None] = []
    submit = site.engine.submit

    def overheard(generation: Generation, *more: Any) -> Any:
        asked.append(generation.model)
        return submit(generation, *more)

    monkeypatch.setattr(site.engine, "submit", overheard)
    folder = write_sd1(tmp_path / "sd1")
    (folder / "safelight.json").write_text('{"steps": 3}')
    told = operator.post("/operator/checkpoints", name="by-path", path=str(folder)).text
    assert "by-path is being loaded" in told
    assert "<td>StableDiffusion</td>" in told
    with SignedIn(site, key) as browser:
        job = browser.made(model="by-path", steps="")
    made = site.http.get(f"/v1/jobs/{job}", headers={"key": key}).json()
    assert (made["status"], made["model"], made["steps"]) == ("succeeded", "by-path", 3)
    (engines,) = asked
    assert site.shelf.shown[str(engines)] == folder
    again = operator.post("/operator/checkpoints", name="by-path", path=str(folder))
    assert (again.status_code, "remove that one first" in again.text) == (400, True)
    assert "off the shelf" in operator.post("/operator/checkpoints/remove", name="by-path").text
    assert site.ask(site.services.catalogue.checkpoint("by-path")).note
    until(lambda: engines not in site.shelf.shown)
    assert operator.post("/operator/checkpoints/remove", name="by-path").status_code == 404


@pytest.mark.parametrize(
    ("name", "path", "why"),
    [("plain", "/models", "settings"), ("a name", "/models", "letters"), ("new", "models", "absolute")],
)
def test_what_cannot_be_added_is_refused_in_words(operator: SignedIn, name: str, path: str, why: str) -> None:
    reply = operator.post("/operator/checkpoints", name=name, path=path)
    assert (reply.status_code, why in reply.text) == (400, True), reply.text


@pytest.mark.slow
def test_what_is_no_whole_checkpoint_is_not_added(operator: SignedIn, tmp_path: Path) -> None:
    folder = write_sd1(tmp_path / "sd1")
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    reply = operator.post("/operator/checkpoints", name="half", path=str(folder))
    assert (reply.status_code, "is not whole. unet:" in reply.text) == (400, True), reply.text
    reply = operator.post("/operator/checkpoints", name="none", path=str(tmp_path / "nowhere"))
    assert (reply.status_code, "Nothing is at" in reply.text) == (400, True), reply.text


@pytest.mark.slow
def test_the_doctor_looks(operator: SignedIn) -> None:
    """In a process of its own, which loads torch."""
    told = operator.post("/operator/examine").text
    assert "PostgreSQL" in told
    assert "blob store" in told


def test_bars_stand_side_by_side_and_the_highest_reaches_the_top() -> None:
    drawn = plot("Work", [("one", 1), ("two", 4), ("three", 0)], "jobs")
    assert [bar.height for bar in drawn.bars] == [HEIGHT / 4, HEIGHT, 1]
    assert all(bar.y + bar.height == HEIGHT for bar in drawn.bars)
    assert drawn.bars[-1].x + drawn.bars[-1].width < WIDTH
    assert (drawn.bars[1].says, drawn.first, drawn.last, drawn.most) == ("two: 4 jobs", "one", "three", "4 jobs")
    assert plot("Nothing", [], "jobs").bars == ()
