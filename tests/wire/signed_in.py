"""A browser without a window: an HTTP client that is signed in to the console, sends what its pages carry, and follows no script."""

from __future__ import annotations

import re
import time
from types import TracebackType
from typing import Self

import httpx

from .site import Site

PATIENCE = 240.0  # seconds


class SignedIn:
    """One session of one key."""

    def __init__(self, site: Site, key: str) -> None:
        base = site.settings.base_url
        self.http = httpx.Client(base_url=base, timeout=PATIENCE, headers={"Origin": base, "Accept": "text/html"})
        reply = self.http.post("/console/sign-in", data={"key": key})
        assert (reply.status_code, reply.headers["location"]) == (303, "/console"), reply.text
        self.csrf = found(r'"X-CSRF-Token": "(\w+)"', self.get("").text)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.http.close()

    def get(self, path: str, **headers: str) -> httpx.Response:
        return self.http.get(f"/console{path}", headers=headers)

    def post(self, path: str, /, files: dict[str, bytes] | None = None, **fields: object) -> httpx.Response:
        """As htmx does."""
        given = {name: (f"{name}.png", data, "image/png") for name, data in (files or {}).items()}
        headers = {"X-CSRF-Token": self.csrf, "HX-Request": "true"}
        return self.http.post(f"/console{path}", data=fields, files=given or None, headers=headers)

    def make(self, files: dict[str, bytes] | None = None, **fields: object) -> int:
        """The id of a job that was accepted."""
        asked = {"prompt": "a cat", "width": 64, "height": 64, "steps": 4} | fields
        reply = self.post("/make", files, **asked)
        assert reply.status_code == 200, reply.text
        return int(found(r'id="job-(\d+)"', reply.text))

    def made(self, files: dict[str, bytes] | None = None, **fields: object) -> int:
        """The id of a job that has ended; its events are read to their end."""
        job = self.make(files, **fields)
        events = self.events(job)
        assert "event: done" in events or "event: failed" in events, events
        return job

    def events(self, job: int) -> str:
        """All that is told of a job until it ends, which it does in time."""
        until, told = time.monotonic() + PATIENCE, ""
        with self.http.stream("GET", f"/console/jobs/{job}/events") as reply:
            for piece in reply.iter_text():
                told += piece
                assert time.monotonic() < until, f"job {job} does not end: {told}"
        return told


def found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    assert match, f"{pattern} is not in {text[:2000]}"
    return match[1]
