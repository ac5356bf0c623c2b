"""Safelight's own endpoints: health, proofs of erasure, the API page. Speaks no vendor's dialect."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse, HTMLResponse

from safelight.errors import NotFound
from safelight.records import Receipt
from safelight.service.services import Services
from safelight.settings import Settings
from safelight.wire.forms import read_form
from safelight.wire.http import answer, authenticate, refusal_of
from safelight.wire.openapi import Operation, Refusals, Shape, add

CONSOLE = Path(__file__).parent / "console"
VENDOR = CONSOLE / "vendor" / "swagger-ui"
PAGE_FILES = {
    "swagger-ui-bundle.js": (VENDOR / "swagger-ui-bundle.js", "text/javascript"),
    "swagger-ui.css": (VENDOR / "swagger-ui.css", "text/css"),
    "favicon.png": (VENDOR / "favicon-32x32.png", "image/png"),
    "docs.js": (CONSOLE / "docs.js", "text/javascript"),
}
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "connect-src 'self'; font-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

SAFE = ("GET", "HEAD")
WriteError = Callable[[Exception, str, Settings], Response]  # of any dialect: the error, the path, the settings
Ready = Callable[[], Awaitable[None]]  # raises Unavailable while it is not


def routes(services: Services, ready: Ready) -> APIRouter:
    router = APIRouter()

    async def healthz(_request: Request) -> Response:
        return answer({"status": "ok"})

    async def readyz(_request: Request) -> Response:
        await ready()
        return answer({"status": "ok"})

    async def erasure(request: Request) -> Response:
        account = await authenticate(services, await read_form(request, services.settings))
        return answer(write_receipt(await services.erasure.receipt(account, request.path_params["id"])))

    for endpoint, (path, operation) in zip((healthz, readyz, erasure), OPERATIONS.items(), strict=True):
        for method in SAFE:
            add(router, method, path, endpoint, operation)
    router.add_api_route("/docs", _page, methods=[*SAFE], include_in_schema=False)
    router.add_api_route("/docs/{name}", _page_file, methods=[*SAFE], include_in_schema=False)
    return router


def write_receipt(receipt: Receipt) -> dict[str, object]:
    return {
        "id": receipt.id,
        "scope": receipt.scope,
        "request_ids": list(receipt.request_ids),
        "assets": receipt.assets,
        "bytes": receipt.bytes,
        "key_id": receipt.key_id,
        "requested_at": receipt.requested_at,
        "verified_at": receipt.verified_at,
    }


def write_error(error: Exception, _path: str, _settings: Settings) -> Response:
    refusal = refusal_of(error)
    return answer({"status": "error", "message": refusal.sentence}, refusal.status, refusal.headers)


async def _page(_request: Request) -> Response:
    return HTMLResponse((CONSOLE / "docs.html").read_bytes(), headers={"Content-Security-Policy": PAGE_POLICY})


async def _page_file(request: Request) -> Response:
    if (found := PAGE_FILES.get(request.path_params["name"])) is None:
        raise NotFound
    return FileResponse(found[0], media_type=found[1], headers={"X-Content-Type-Options": "nosniff"})


_ERROR = Shape(
    "HouseError",
    {
        "type": "object",
        "properties": {"status": {"const": "error"}, "message": {"type": "string"}},
        "required": ["status", "message"],
    },
)
REFUSALS = Refusals(
    _ERROR,
    {
        status: (text, {"status": "error", "message": text})
        for status, text in (
            (400, "body must be a JSON object"),
            (401, "Invalid API key"),
            (404, "Not found"),
            (408, "body must arrive within 60 seconds"),
            (413, "body must have at most 25,165,824 bytes"),
            (500, "Internal server error. Please try again."),
            (503, "Service temporarily unavailable. Please try again later."),
        )
    },
)
_OK = Shape("Ok", {"type": "object", "properties": {"status": {"const": "ok"}}, "required": ["status"]})
_RECEIPT = Shape(
    "Receipt",
    {
        "type": "object",
        "properties": {
            "id": {"type": "string"},
            "scope": {"enum": ["job", "jobs", "asset", "cache", "expiry", "account"]},
            "request_ids": {"type": "array", "items": {"type": "integer"}},
            "assets": {"type": "integer"},
            "bytes": {"type": "integer"},
            "key_id": {"type": ["integer", "null"]},
            "requested_at": {"type": "string"},
            "verified_at": {"type": ["string", "null"], "description": "null until all bytes were seen to be gone."},
        },
        "required": ["id", "scope", "request_ids", "assets", "bytes", "requested_at", "verified_at"],
    },
)
_EXAMPLE = {
    "id": "7b1c6a52-53c8-4d1b-8a5e-0d7a0c7f3a11",
    "scope": "job",
    "request_ids": [302455],
    "assets": 2,
    "bytes": 812345,
    "key_id": 1,
    "requested_at": "2026-11-21T12:00:00Z",
    "verified_at": "2026-11-21T12:00:01Z",
}
OPERATIONS = {
    "/healthz": Operation("Is the process alive", "Operation", _OK, {"status": "ok"}, REFUSALS),
    "/readyz": Operation(
        "Can it take work: do database and blob store answer", "Operation", _OK, {"status": "ok"}, REFUSALS
    ),
    "/v1/erasures/{id}": Operation(
        "The receipt of an erasure, by the id in its answer's X-Safelight-Receipt header",
        "Assets and queue",
        _RECEIPT,
        _EXAMPLE,
        REFUSALS,
    ),
}
