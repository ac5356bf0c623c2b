"""What every dialect needs of HTTP: a JSON answer, and who is calling. Knows no vendor's words."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
from fastapi import Request, Response

from safelight.errors import (
    Forbidden,
    Invalid,
    NoCredit,
    NotFound,
    NotOffered,
    OverQuota,
    Refused,
    SafelightError,
    Unauthorized,
    Unavailable,
)
from safelight.records import Account, Job, JobRequest
from safelight.service.jobs import LARGEST_ID
from safelight.service.once import Once, once_for
from safelight.service.services import Services
from safelight.wire.forms import Form, TooLarge, TooSlow, read_form

RECEIPT = "X-Safelight-Receipt"
NOTES, IGNORED = "X-Safelight-Notes", "X-Safelight-Ignored"
LONGEST_NOTES = 2_000  # characters; clients refuse long headers
IDEMPOTENCY_KEY = "Idempotency-Key"
LONGEST_KEY = 255


def answer(body: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(body), status, dict(headers or {}), "application/json")


@dataclass(frozen=True, slots=True)
class Refusal:
    """How an error looks to HTTP, whatever the dialect: its status, its headers, and the sentence that may be said."""

    status: int
    sentence: str
    headers: dict[str, str] = field(default_factory=dict)


def refusal_of(error: Exception) -> Refusal:
    """What is not of our own tree is our mistake, and nothing is said about it."""
    if not isinstance(error, SafelightError):
        return Refusal(500, "Internal server error. Please try again.")
    match error:
        case OverQuota(retry_after=seconds, limit=int(limit)):
            headers = {"Retry-After": str(seconds)} | rate_headers(limit, 0, math.ceil(time.time()) + seconds)
        case Refused(retry_after=seconds):
            headers = {"Retry-After": str(seconds)}
        case Unavailable():
            headers = {"Retry-After": "5"}
        case TooLarge() | TooSlow():
            headers = {"Connection": "close"}
        case NotOffered():
            headers = {"X-Should-Retry": "false"}  # OpenAI's clients send again whatever is answered with 5xx
        case _:
            headers = {}
    status = next((status for kind, status in _STATUS.items() if isinstance(error, kind)), 500)
    return Refusal(status, error.message, headers)


def told(request: JobRequest | None) -> dict[str, str]:
    """In headers, so that the bodies stay as they are documented: what was done otherwise than asked, and what has no effect."""
    if request is None:
        return {}
    said = {NOTES: " ".join(request.notes), IGNORED: ", ".join(request.ignored)}
    return {name: _header(value) for name, value in said.items() if value}


def _header(value: str) -> str:
    """Names that callers made up may stand in it."""
    plain = value.encode("ascii", "backslashreplace").decode()
    return "".join(letter if letter.isprintable() else " " for letter in plain)[:LONGEST_NOTES]


def rate_headers(limit: int, remaining: int, reset: int) -> dict[str, str]:
    """What is allowed, what is left of it, and in Unix seconds when that will be more."""
    names = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
    return dict(zip(names, map(str, (limit, remaining, reset)), strict=True))


async def read_once(request: Request, form: Form, what: str) -> Once | None:
    """Of a request with an Idempotency-Key; ``what`` tells apart what is asked with the same fields."""
    key = request.headers.get(IDEMPOTENCY_KEY, "").strip()
    if len(key) > LONGEST_KEY:
        raise Invalid(IDEMPOTENCY_KEY, f"must have at most {LONGEST_KEY} characters")
    if not key:
        return None
    return await asyncio.to_thread(lambda: once_for(key, json.dumps([what, form.fields], sort_keys=True)))


async def authenticate(services: Services, form: Form) -> Account:
    if not form.key:
        raise Unauthorized("API key required")
    return await services.accounts.authenticate(form.key)


async def read_caller(services: Services, request: Request) -> tuple[Form, Account]:
    """What was sent, and by whom."""
    form = await read_form(request, services.settings)
    return form, await authenticate(services, form)


def path_id(request: Request) -> int:
    """An id in a path: what is no number names nothing."""
    word = str(request.path_params["id"])
    if not (word.isascii() and word.isdecimal() and len(word) < 20 and 0 < int(word) <= LARGEST_ID):
        raise NotFound
    return int(word)


def picture_urls(job: Job, names: Sequence[str], base_url: str) -> list[str]:
    """The public addresses of a job's outputs."""
    folder = "temp" if job.request and job.request.temp else "generations"
    return [f"{base_url}/{folder}/{name}" for name in names]


_STATUS: dict[type[SafelightError], int] = {  # the first that fits
    TooLarge: 413,
    TooSlow: 408,
    Invalid: 400,
    Unauthorized: 401,
    NoCredit: 402,
    Forbidden: 403,
    NotFound: 404,
    NotOffered: 501,
    Refused: 429,
    Unavailable: 503,
}
