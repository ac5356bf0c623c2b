"""One line of the vendor's tables, and one authenticated request to it. Knows no endpoint."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

from fastapi import Request, Response

from safelight.errors import NotFound
from safelight.records import Account
from safelight.service.services import Services
from safelight.wire.forms import Form, read_form
from safelight.wire.http import authenticate
from safelight.wire.keeping import as_preferred
from safelight.wire.modelslab.families import SERVERS, Family
from safelight.wire.openapi import Endpoint, Operation

BOTH = ("POST", "GET")


@dataclass(frozen=True, slots=True)
class Call:
    """One authenticated request."""

    services: Services
    account: Account
    form: Form
    family: Family
    request: Request

    @property
    def path_id(self) -> str | None:
        return self.request.path_params.get("id")

    @property
    def base_url(self) -> str:
        return self.services.settings.base_url


Act = Callable[[Call], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Row:
    """A path under /api/, the family that it speaks as, what it does, and how it is described.

    ``bare``: clients leave /api out of it too.
    """

    path: str
    family: Family
    act: Act
    operation: Operation
    methods: tuple[str, ...] = ("POST",)
    bare: bool = False

    @property
    def paths(self) -> tuple[str, ...]:
        return (f"/api/{self.path}", f"/{self.path}") if self.bare else (f"/api/{self.path}",)


def filled(call: Call, defaults: Mapping[str, object], **settled: object) -> Call:
    """What a caller leaves out is as the page says; what is settled is so whatever he sent."""
    left_out = {name: value for name, value in defaults.items() if not call.form.has(name)}
    return replace(call, form=Form({**call.form.fields, **left_out, **settled}, call.form.key))


def endpoint(services: Services, row: Row) -> Endpoint:
    async def answer(request: Request) -> Response:
        form = await read_form(request, services.settings)
        account = await authenticate(services, form)
        return await row.act(Call(services, account, as_preferred(form, account), _family(row, request), request))

    return answer


def _family(row: Row, request: Request) -> Family:
    """A path that names one of several servers speaks as that one."""
    name = request.path_params.get("server")
    if name is None:
        return row.family
    if name not in SERVERS:
        raise NotFound("No such endpoint")
    return SERVERS[name]
