"""What every dialect needs of HTTP: a JSON answer, who is calling, and how an endpoint is described. Knows no vendor's words."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import msgspec
from fastapi import APIRouter, Request, Response

from safelight.errors import Unauthorized
from safelight.records import Account
from safelight.service.services import Services
from safelight.wire.forms import Form

Endpoint = Callable[[Request], Awaitable[Response]]
Schema = Mapping[str, object]

RECEIPT = "X-Safelight-Receipt"


@dataclass(frozen=True, slots=True)
class Operation:
    """An endpoint's entry in the OpenAPI document. ``answers`` maps a status to (text, schema, example)."""

    summary: str
    body: Schema | None = None
    example: object = None
    answers: Mapping[int, tuple[str, Schema, object]] = field(default_factory=dict)
    parameters: tuple[Schema, ...] = ()
    tag: str = ""


def answer(body: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(body), status, dict(headers or {}), "application/json")


async def authenticate(services: Services, form: Form) -> Account:
    if not form.key:
        raise Unauthorized("API key required")
    return await services.accounts.authenticate(form.key)


def add(router: APIRouter, method: str, path: str, endpoint: Endpoint, operation: Operation) -> None:
    """Register an endpoint that answers for itself: FastAPI routes and describes it, and converts nothing."""
    extra: dict[str, object] = {"parameters": list(operation.parameters)} if operation.parameters else {}
    if operation.body is not None:
        media = {"schema": operation.body, **_example(operation.example)}
        kinds = ("application/json", "application/x-www-form-urlencoded")
        extra["requestBody"] = {"required": False, "content": dict.fromkeys(kinds, media)}
    router.add_api_route(
        path,
        endpoint,
        methods=[method],
        summary=operation.summary,
        tags=[operation.tag],
        operation_id=f"{method.lower()} {path}".translate(str.maketrans("/ {", "___", "}")),
        responses={status: _response(*parts) for status, parts in operation.answers.items()},
        openapi_extra=extra,
        response_class=Response,
    )


def _response(text: str, schema: Schema, example: object) -> dict[str, object]:
    return {"description": text, "content": {"application/json": {"schema": schema, **_example(example)}}}


def _example(example: object) -> dict[str, object]:
    return {} if example is None else {"example": example}
