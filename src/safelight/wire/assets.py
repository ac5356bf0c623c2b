"""Pictures and other uploads at their public addresses. The row is asked at every request. Knows no dialect and no key."""

from __future__ import annotations

import base64
from collections.abc import Callable

from fastapi import APIRouter, Request, Response

from safelight.errors import NotFound
from safelight.records import AssetKind
from safelight.service.media import FORMATS, format_named
from safelight.service.services import Services
from safelight.wire.openapi import Endpoint

HEADERS = {
    "Cache-Control": "private, no-store",
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "X-Content-Type-Options": "nosniff",
}
FOLDERS = {
    "generations": {AssetKind.output},
    "temp": {AssetKind.output, AssetKind.upload},
    "uploads": {AssetKind.upload},
}
INLINE = ".base64"  # the same picture as plain base64 text
INLINE_TYPE = "text/plain; charset=us-ascii"


def routes(services: Services) -> APIRouter:
    router = APIRouter(tags=["Pictures"])
    for folder, kinds in FOLDERS.items():
        for method in ("GET", "HEAD"):
            router.add_api_route(
                f"/{folder}/{{name}}",
                _endpoint(services, kinds.__contains__),
                methods=[method],
                summary=f"A picture from {folder}, or its base64 text under the name ending in {INLINE}",
                include_in_schema=method == "GET",
                operation_id=f"{method.lower()}_{folder}",
                response_class=Response,
                responses=_RESPONSES,
                openapi_extra={"parameters": [_NAME]},
            )
    return router


def _endpoint(services: Services, shows: Callable[[AssetKind], bool]) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        name = request.path_params["name"]
        inline = name.endswith(INLINE)
        asset, data = await services.assets.open(f"{name.removesuffix(INLINE)}.png" if inline else name)
        if not shows(asset.kind):
            raise NotFound
        if inline:
            return Response(base64.b64encode(data), headers={**HEADERS, "Content-Type": INLINE_TYPE})
        its = format_named(asset.name)
        kept = {} if its.inert else {"Content-Disposition": "attachment"}
        return Response(data, headers={**HEADERS, **kept, "Content-Type": its.media_type})

    return endpoint


_BYTES = {"schema": {"type": "string", "format": "binary"}}
_RESPONSES: dict[int | str, dict[str, object]] = {
    200: {
        "description": "The picture, or another file that was uploaded",
        "content": {its.media_type: _BYTES for its in FORMATS} | {"text/plain": {"schema": {"type": "string"}}},
    },
    404: {"description": "There is no such picture, or not any more"},
}
_NAME = {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}
