"""The whole HTTP side as one application: every dialect, the pictures, our own endpoints, one border for all errors.

Knows which paths belong to which dialect, and nothing of what the dialects say.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

import structlog
from fastapi import APIRouter, FastAPI, Request, Response
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import BaseRoute, Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from safelight import __version__
from safelight.errors import Invalid, NotFound, NotOffered, SafelightError
from safelight.service.services import Services
from safelight.settings import DialectName, Settings
from safelight.wire import (
    absence,
    assets,
    deliveries,
    erasures,
    erasures_described,
    house,
    jobs,
    jobs_described,
    retention,
)
from safelight.wire.a1111 import routes as a1111
from safelight.wire.a1111 import write as a1111_write
from safelight.wire.browsers import Browsers
from safelight.wire.console import routes as console
from safelight.wire.directory import Directory
from safelight.wire.modelslab import absent, agents_write
from safelight.wire.modelslab import routes as modelslab
from safelight.wire.modelslab import write as modelslab_write
from safelight.wire.openai import describe as openai_describe
from safelight.wire.openai import routes as openai
from safelight.wire.openai import write as openai_write
from safelight.wire.openapi import Operation, components
from safelight.wire.paths import tidy
from safelight.wire.tensorslab import routes as tensorslab
from safelight.wire.tensorslab import write as tensorslab_write

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]

log = structlog.get_logger(__name__)

MOST_PATH = 200  # characters of a path in the log
PROBES = frozenset({"/healthz", "/readyz", "/metrics"})
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_ABOUT = """Hosted image APIs, on your own hardware. Point your client's base URL here and keep the rest.

Every endpoint takes JSON, a form or a query string; numbers may come in quotes; yes, no, true and false are words."""


async def _always_ready() -> None:
    return None


def create(
    services: Services,
    lifespan: Lifespan | None = None,
    *,
    ready: house.Ready = _always_ready,
    extra_routes: Sequence[BaseRoute] = (),
) -> FastAPI:
    """The application. ``ready`` raises Unavailable while work cannot be taken; ``extra_routes`` are the caller's."""
    app = FastAPI(
        title="Safelight",
        version=__version__,
        description=_ABOUT,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    rooms = (
        *(routes(services) for name, routes in ROUTES.items() if name in services.settings.dialects),
        assets.routes(services),
        jobs.routes(services),
        erasures.routes(services),
        deliveries.routes(services),
        retention.routes(services),
        house.routes(ready),
    )
    for router in rooms:
        app.router.routes.extend(router.routes)
    app.router.routes.extend(extra_routes)
    app.router.routes.insert(0, Directory(app.router.routes))
    app.openapi()["components"] = components(_operations())
    app.add_middleware(Border, settings=services.settings)
    app.add_middleware(Browsers, settings=services.settings)
    app.add_exception_handler(SafelightError, _refusal(services))
    app.add_exception_handler(HTTPException, _not_routed(services))
    return app


class Border:
    """Gives every request an id, and answers every mistake of ours without saying anything about it."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        scope["path"] = tidy(scope["path"])
        request_id, status, began = _request_id(scope), 0, time.perf_counter()
        if scope["path"] not in PROBES:
            self._settings.hear_host(Headers(scope=scope).get("host", ""))

        async def named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-Id"] = request_id
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, receive, named)
            except ClientDisconnect:
                log.info("client left while sending")
            except Exception as error:
                log.exception("request failed")
                if status:
                    raise
                response = _dialect(scope["path"]).write_error(error, scope["path"], self._settings)
                await response(scope, receive, named)
            finally:
                _note(scope, status, time.perf_counter() - began)


def _note(scope: Scope, status: int, seconds: float) -> None:
    """One line for each request, by the route's template: an address may hold a key. Those who only look are not noted."""
    route = getattr(scope.get("route"), "path", "(none)")
    say = log.debug if route in PROBES else log.info
    say("request", method=scope["method"], route=route, status=status, milliseconds=round(seconds * 1000))


def _operations() -> list[Operation]:
    tensorslab_operations = [operation for _, operation in tensorslab.TABLE.values()]
    return [
        *modelslab.OPERATIONS,
        *a1111.OPERATIONS.values(),
        *openai_describe.OPERATIONS.values(),
        *tensorslab_operations,
        *jobs_described.OPERATIONS,
        *erasures_described.OPERATIONS,
        *deliveries.OPERATIONS,
        *retention.OPERATIONS,
        *house.OPERATIONS.values(),
    ]


def _request_id(scope: Scope) -> str:
    given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"").decode("latin-1")
    return given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def _refusal(services: Services) -> Callable[[Request, Exception], Any]:
    async def refuse(request: Request, error: Exception) -> Response:
        path = request.scope["path"]
        if isinstance(error, NotOffered):
            template = str(getattr(request.scope.get("route"), "path", path))
            _wish(services, template.removeprefix("/api/"), error.message)
        return _dialect(path).write_error(error, path, services.settings)

    return refuse


def _not_routed(services: Services) -> Callable[[Request, Exception], Any]:
    """What no route takes: a wrong method, a documented endpoint that is not here, or nothing that anybody knows."""

    async def refuse(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        path = request.scope["path"]
        wrong_method = error.status_code == 405 and _dialect(path).find_absent(path) is None
        known = Invalid("", "The method is not allowed") if wrong_method else _absent(services, path)
        response = _dialect(path).write_error(known, path, services.settings)
        if wrong_method:
            if request.method == "OPTIONS":
                response = Response()
            response.status_code = 204 if request.method == "OPTIONS" else 405
            response.headers["Allow"] = ", ".join(_allowed(request))
        return response

    return refuse


def _absent(services: Services, path: str) -> SafelightError:
    found = _dialect(path).find_absent(path)
    if found is None:
        log.info("no such endpoint", path=path[:MOST_PATH])
        return NotFound("No such endpoint")
    template, absence = found
    _wish(services, template, absence.name)
    return absence.refusal()


def _wish(services: Services, endpoint: str, missing: str) -> None:
    """Counted and told in the log by the vendor's template, so that an operator sees what an app misses."""
    services.wishes.note(endpoint)
    log.info("not offered", endpoint=endpoint, missing=missing)


def _allowed(request: Request) -> list[str]:
    """Every method that some route offers at this path; Starlette itself tells only the first route's."""
    routes = [route for route in request.app.routes if isinstance(route, Route)]
    here = [route for route in routes if route.matches(request.scope)[0] is not Match.NONE]
    return sorted({method for route in here for method in route.methods or ()})


@dataclass(frozen=True, slots=True)
class Dialect:
    """How it words an error, and which of its vendor's endpoints this server lacks."""

    write_error: house.WriteError
    find_absent: absence.Find = absence.nothing


def _dialect(path: str) -> Dialect:
    return next((dialect for prefix, dialect in DIALECTS.items() if f"{path}/".startswith(prefix)), HOUSE)


HOUSE = Dialect(house.write_error)
DIALECTS = {
    "/api/agents/": Dialect(agents_write.write_error, absent.find),
    "/sdapi/": Dialect(a1111_write.write_error),
    "/controlnet/": Dialect(a1111_write.write_error),
    "/console/": Dialect(console.write_error),
    "/api/": Dialect(modelslab_write.write_error, absent.find),
    "/uncensored-chat/": Dialect(modelslab_write.write_error),
    **{f"{path}/": Dialect(openai_write.write_error) for path in openai.PATHS},
    "/v1/images/": Dialect(tensorslab_write.write_error),
    "/v1/video/": Dialect(tensorslab_write.write_error, tensorslab_write.find_absent),
}
ROUTES: dict[DialectName, Callable[[Services], APIRouter]] = {  # in the order of the API page
    "modelslab": modelslab.routes,
    "tensorslab": tensorslab.routes,
    "openai": openai.routes,
    "a1111": a1111.routes,
    "console": console.routes,
}
