"""Safelight's own endpoints for jobs, over HTTP: pages, one, erasing, and the stream of events as a browser would read it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from safelight.wire import events

from .site import Json, Site


@dataclass
class Heard:
    name: str
    id: str
    data: Json


def listen(site: Site, key: str, job: int, **query: Any) -> list[Heard]:
    """Every event until the stream ends."""
    headers = {"key": key} | query.pop("headers", {})
    with site.http.stream("GET", f"/v1/jobs/{job}/events", params=query, headers=headers) as reply:
        assert reply.headers["content-type"].startswith("text/event-stream"), reply.read()
        return list(read(reply.iter_lines()))


def read(lines: Iterator[str]) -> Iterator[Heard]:
    """By the rules of the standard, as far as we use them."""
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        if line and name:
            fields[name] = value.removeprefix(" ")
        elif not line and fields:
            yield Heard(fields["event"], fields.get("id", ""), json.loads(fields["data"]))
            fields = {}


@contextmanager
def slow(site: Site, seconds: float = 0.15) -> Iterator[None]:
    site.engine.step_seconds = seconds
    try:
        yield
    finally:
        site.engine.step_seconds = 0.0


def test_a_stream_tells_the_whole_story(site: Site, key: str) -> None:
    with slow(site), site.closed_gate():
        job = site.held_back(key, num_inference_steps=8, strength=1, prompt="a pear")["id"]
        threading.Timer(0.3, site.engine.gate.set).start()
        heard = listen(site, key, job, previews=1)
    names = [each.name for each in heard]
    assert names.count("done") == 1
    assert names[-1] == "done"
    assert set(names) <= {"queued", "step", "done"}
    assert len({each.data["step"] for each in heard if each.name == "step"}) >= 4
    assert any(each.data.get("preview", "").startswith("data:image/webp;base64,") for each in heard)
    done = heard[-1].data
    assert site.http.get(done["output"][0]).status_code == 200
    assert (done["status"], done["request"]["prompt"]) == ("succeeded", "a pear, sharp focus")
    assert [each.id for each in heard if each.name == "done"] == ["end"]


def test_a_stream_ends_when_its_key_is_revoked(site: Site, key: str) -> None:
    with site.closed_gate():
        job = site.held_back(key)["id"]
        with site.http.stream("GET", f"/v1/jobs/{job}/events", headers={"key": key}) as reply:
            told = read(reply.iter_lines())
            next(told)
            site.ask(site.services.accounts.revoke_key(key[:12]))
            assert {each.name for each in told} <= {"queued", "step"}


def test_without_asking_there_are_no_previews(site: Site, key: str) -> None:
    with slow(site, 0.05):
        job = site.held_back(key, num_inference_steps=8, strength=1)["id"]
        assert not any("preview" in each.data for each in listen(site, key, job))


def test_who_comes_back_is_told_what_is_new(site: Site, key: str) -> None:
    job = site.made(key)["id"]
    (done,) = listen(site, key, job, headers={"Last-Event-ID": "1-3"})
    assert done.name == "done"
    reply = site.http.get(f"/v1/jobs/{job}/events", headers={"key": key, "Last-Event-ID": done.id})
    assert (reply.status_code, reply.content) == (204, b"")
    with site.closed_gate():
        held = site.held_back(key)["id"]
        with site.http.stream("GET", f"/v1/jobs/{held}/events", headers={"key": key}) as stream:
            first = next(read(stream.iter_lines()))
        with ThreadPoolExecutor(1) as pool:
            again = pool.submit(listen, site, key, held, headers={"Last-Event-ID": first.id})
            threading.Timer(0.3, site.engine.gate.set).start()
            assert first.id not in [each.id for each in again.result(60)]


def test_a_failure_and_an_erasure_end_the_stream(site: Site, key: str) -> None:
    failed = site.img2img(key, prompt="a mistake").json()["id"]
    (event,) = listen(site, key, failed)
    assert (event.name, event.data["message"]) == ("failed", "The picture could not be made.")
    with site.closed_gate(), ThreadPoolExecutor(1) as pool:
        job = site.held_back(key)["id"]
        listening = pool.submit(listen, site, key, job, previews="yes")
        while job not in site.services.following._followed:
            time.sleep(0.02)
        erased = site.http.delete(f"/v1/jobs/{job}", headers={"key": key})
        assert listening.result(60)[-1] == Heard("erased", "end", {"id": job, "status": "erased"})
    assert erased.json() == {"id": job, "status": "erased", "receipt": erased.headers["x-safelight-receipt"]}
    for method, path in (("GET", f"/v1/jobs/{job}"), ("GET", f"/v1/jobs/{job}/events")):
        assert site.http.request(method, path, headers={"key": key}).status_code == 404
    assert site.http.delete(f"/v1/jobs/{job}", headers={"key": key}).json() == erased.json()


def test_silence_is_filled_so_that_proxies_stay(site: Site, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "BEAT_SECONDS", 0.1)
    with site.closed_gate():
        job = site.held_back(key)["id"]
        with site.http.stream("GET", f"/v1/jobs/{job}/events", headers={"key": key}) as stream:
            assert ":" in [line for line, _ in zip(stream.iter_lines(), range(12), strict=False)]


def test_pages_filters_and_words(site: Site, key: str) -> None:
    made = [site.made(key, prompt=f"a {word} house", seed=1)["id"] for word in ("red", "green", "blue")]
    site.img2img(key, prompt="a mistake, red")

    def page(**query: object) -> Json:
        reply = site.http.get("/v1/jobs", params={k: str(v) for k, v in query.items()}, headers={"key": key})
        assert reply.status_code == 200, reply.text
        body: Json = reply.json()
        return body

    assert [job["id"] for job in page()["jobs"]][1:] == made[::-1]
    first = page(limit=2)
    assert [job["id"] for job in page(limit=2, before=first["next"])["jobs"]] == [made[1], made[0]]
    assert page(limit=2, before=made[1])["next"] is None
    assert [job["id"] for job in page(status="succeeded", search="HOUSE red")["jobs"]] == [made[0]]
    assert [job["status"] for job in page(status="failed,cancelled")["jobs"]] == ["failed"]
    assert len(page(task="generate")["jobs"]) == 4
    assert page(model="nobody's")["jobs"] == page(until="2020-01-01")["jobs"] == []
    assert len(page(since="2020-01-01T00:00:00Z", model="plain")["jobs"]) == 3
    assert site.http.get("/v1/jobs", headers={"key": site.key()}).json() == {"jobs": [], "next": None}
    one = site.http.get(f"/v1/jobs/{made[0]}", headers={"key": key}).json()
    assert one == page(search="red", status="succeeded")["jobs"][0]
    assert one["request"]["prompt"] == "a red house, sharp focus"
    assert not {"webhook", "extras"} & one["request"].keys()


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("limit=0", "limit must be between 1 and 100"),
        ("limit=101", "limit must be between 1 and 100"),
        ("before=x", "before must be a number"),
        ("task=dance", "task must be one of"),
        ("status=lost", "status must be one or more of queued, running, succeeded, failed, cancelled, separated by commas"),
        ("since=yesterday", "since must be a date, or a date and time, as in 2026-11-21T12:00:00Z"),
    ],
)  # fmt: skip
def test_a_query_that_is_none_is_refused(site: Site, key: str, query: str, said: str) -> None:
    reply = site.http.get(f"/v1/jobs?{query}", headers={"key": key})
    assert (reply.status_code, reply.json()["status"]) == (400, "error")
    assert reply.json()["message"].startswith(said)


def test_a_reader_that_stands_still_holds_nobody_up(site: Site, key: str) -> None:
    """It asks and never reads; others hear everything meanwhile."""
    with slow(site, 0.1), httpx.Client(base_url=site.settings.base_url) as lazy:
        job = site.held_back(key, num_inference_steps=6, strength=1)["id"]
        with lazy.stream("GET", f"/v1/jobs/{job}/events?previews=1", headers={"key": key}):
            assert [each.name for each in listen(site, key, job)].count("done") == 1
