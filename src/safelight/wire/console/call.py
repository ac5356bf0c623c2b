"""One request of a browser that is signed in, and the answers that it can have. Knows no page by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fastapi import Request, Response

from safelight.records import Account
from safelight.service.services import Services
from safelight.wire.console.guard import csrf_of
from safelight.wire.console.pages import render
from safelight.wire.forms import Form

PAGES = (
    ("make", "/console", "Make"),
    ("gallery", "/console/gallery", "Gallery"),
    ("account", "/console/account", "Account"),
    ("operator", "/console/operator", "Operator"),
)
NOTICE = {"HX-Retarget": "#notice", "HX-Reswap": "innerHTML"}  # where a page shows what went wrong


@dataclass(frozen=True, slots=True)
class Call:
    """``token`` is the session's; ``files`` are the pictures that a form sent along."""

    services: Services
    account: Account
    request: Request
    token: str
    form: Form = field(default_factory=lambda: Form({}))
    files: Mapping[str, Sequence[bytes]] = field(default_factory=dict)

    def page(self, name: str, **values: object) -> Response:
        """The template's name is the page's."""
        shown = [each for each in PAGES if each[0] != "operator" or self.account.operator]
        here = name.removesuffix(".html")
        common = {"account": self.account, "csrf": csrf_of(self.token), "pages": shown, "page_name": here}
        return render(name, {**common, **values})

    def fragment(self, name: str, **values: object) -> Response:
        """A part of a page, which stands in one already."""
        return render(name, values)


def is_fragment(request: Request) -> bool:
    return request.headers.get("hx-request") == "true"
