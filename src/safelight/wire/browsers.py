"""Lets programs in web pages call the API from other origins: the answer to preflights, and the Access-Control headers.

Never with credentials: whoever calls needs a key, which no browser adds by itself. Knows paths by their beginnings only.
"""

from __future__ import annotations

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from safelight.settings import Settings
from safelight.wire.paths import tidy

OPEN = (
    "/api/",
    "/uncensored-chat/",
    "/sdapi/",
    "/v1/",
    "/generations/",
    "/temp/",
    "/uploads/",
)  # all others, pages for people among them, stay closed
TOLD = (
    "Allow",
    "Retry-After",
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
    "X-Request-Id",
    "X-Safelight-Ignored",
    "X-Safelight-Notes",
    "X-Safelight-Receipt",
)
PREFLIGHT_SECONDS = 7_200  # the longest that Chromium remembers an answer


class Browsers:
    """In front of the application: the open paths go through Starlette's own CORS, the others straight on."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._across = CORSMiddleware(
            app,
            allow_origins=settings.cors_origins,
            allow_methods=("*",),
            allow_headers=("*",),
            allow_private_network=True,
            expose_headers=TOLD,
            max_age=PREFLIGHT_SECONDS,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        across = scope["type"] == "http" and tidy(scope["path"]).startswith(OPEN)
        await (self._across if across else self._app)(scope, receive, send)
