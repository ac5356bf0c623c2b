"""What every dialect needs of HTTP: a JSON answer, and who is calling. Knows no vendor's words."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from fastapi import Response

from safelight.errors import Unauthorized
from safelight.records import Account
from safelight.service.services import Services
from safelight.wire.forms import Form

RECEIPT = "X-Safelight-Receipt"


def answer(body: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(body), status, dict(headers or {}), "application/json")


async def authenticate(services: Services, form: Form) -> Account:
    if not form.key:
        raise Unauthorized("API key required")
    return await services.accounts.authenticate(form.key)
