"""Stands before all routes and knows by their path those that have no parameter: an index in place of a search.

Without it every request tries the routes one after the other; the vendor's hundreds cost it more than all that they do for it.
"""

from __future__ import annotations

from collections.abc import Sequence

from starlette.datastructures import URLPath
from starlette.routing import BaseRoute, Match, NoMatchFound, Route
from starlette.types import Receive, Scope, Send

_FOUND = "safelight.found"


class Directory(BaseRoute):
    """Leaves to the others what it does not know: paths with parameters, wrong methods, and what nobody knows."""

    def __init__(self, routes: Sequence[BaseRoute]) -> None:
        self._routes: dict[str, list[Route]] = {}
        for route in routes:
            if isinstance(route, Route) and "{" not in route.path:
                self._routes.setdefault(route.path, []).append(route)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] == "http":
            for route in self._routes.get(scope["path"], ()):
                match, found = route.matches(scope)
                if match is Match.FULL:
                    return match, {"route": route, **found, _FOUND: route}
        return Match.NONE, {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await scope[_FOUND].handle(scope, receive, send)

    def url_path_for(self, name: str, /, **path_params: object) -> URLPath:
        raise NoMatchFound(name, path_params)
