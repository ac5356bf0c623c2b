"""Safelight's own endpoints: health, and the API page. Speaks no vendor's dialect."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse, HTMLResponse

from safelight.errors import NotFound
from safelight.settings import Settings
from safelight.wire.http import answer, refusal_of
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


def routes(ready: Ready) -> APIRouter:
    router = APIRouter(tags=["Operation"])

    async def healthz(_request: Request) -> Response:
        return answer({"status": "ok"})

    async def readyz(_request: Request) -> Response:
        await ready()
        return answer({"status": "ok"})

    for endpoint, (path, operation) in zip((healthz, readyz), OPERATIONS.items(), strict=True):
        for method in SAFE:
            add(router, method, path, endpoint, operation)
    router.add_api_route("/docs", _page, methods=[*SAFE], include_in_schema=False)
    router.add_api_route("/docs/{name}", _page_file, methods=[*SAFE], include_in_schema=False)
    return router


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
OPERATIONS = {
    "/healthz": Operation("Is the process alive", _OK, {"status": "ok"}, REFUSALS),
    "/readyz": Operation("Can it take work: do database and blob store answer", _OK, {"status": "ok"}, REFUSALS),
}
