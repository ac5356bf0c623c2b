"""What every dialect needs of HTTP: a JSON answer, and who is calling. Knows no vendor's words."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence

import msgspec
from fastapi import Request, Response

from safelight.errors import Invalid, NotFound, Unauthorized
from safelight.records import Account, Job
from safelight.service.jobs import LARGEST_ID, Once, once_for
from safelight.service.services import Services
from safelight.wire.forms import Form

RECEIPT = "X-Safelight-Receipt"
IDEMPOTENCY_KEY = "Idempotency-Key"
LONGEST_KEY = 255


def answer(body: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(body), status, dict(headers or {}), "application/json")


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
