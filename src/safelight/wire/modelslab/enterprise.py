"""The pages of a customer's own server, for each kind of model that it may serve, and what its operator may do to it."""

from __future__ import annotations

from dataclasses import replace

from fastapi import Response

from safelight.errors import Forbidden
from safelight.wire.http import answer
from safelight.wire.modelslab import absent, assets, families, images, system
from safelight.wire.modelslab import describe as words
from safelight.wire.modelslab.call import Act, Call, Row
from safelight.wire.modelslab.families import Family
from safelight.wire.openapi import Operation, Shape


async def clear_queue(call: Call) -> Response:
    """Whatever waits, of every account, ends as failed; what runs goes on."""
    _operators_only(call)
    await call.services.steering.clear_queue()
    return _done("Queue cleared, server is restarting")


async def restart_server(call: Call) -> Response:
    """Every worker finishes or hands back what it has, ends, and is started again by whoever keeps it alive."""
    _operators_only(call)
    await call.services.steering.restart_workers()
    return _done("server restarting")


async def update_server(call: Call) -> Response:
    _operators_only(call)
    raise absent.UPDATING.refusal()


OPERATORS_ONLY = "Only an operator's key may do that. Make one with `safelight keys create NAME --operator`."
_FORBIDDEN = {403: words.error("The key is not an operator's", OPERATORS_ONLY)}
_REFUSALS = replace(words.REFUSALS, examples={**words.REFUSALS.examples, **_FORBIDDEN})


def _operators_only(call: Call) -> None:
    if not call.account.operator:
        raise Forbidden(OPERATORS_ONLY)


def _done(said: str) -> Response:
    return answer({"status": "success", "message": said})


def _operation(summary: str, said: str) -> Operation:
    gives = Shape("Ordered", words.fields(words.DONE | {"message": {"type": "string"}}, "status", "message"))
    told = words.other(f"{summary} (operators' keys only)", gives, {"status": "success", "message": said})
    return replace(told, refusals=_REFUSALS)


_CLEAR_QUEUE = _operation("End everything that waits", "Queue cleared, server is restarting")
_RESTART = _operation("Let every worker start anew", "server restarting")
_UPDATE = _operation("Not done through the API: 501", "server updating")
_CONTROLS: tuple[tuple[str, Act, Operation], ...] = (
    ("clear_queue", clear_queue, _CLEAR_QUEUE),
    ("restart_server", restart_server, _RESTART),
    ("update_server", update_server, _UPDATE),
    ("update", update_server, _UPDATE),  # so called by the vendor's own clients
)


def _server(family: Family) -> tuple[Row, ...]:
    controls = (Row(f"{family.name}/{name}", family, act, operation) for name, act, operation in _CONTROLS)
    return *images.makes(family), *system.describes(family), assets.clears(family), *controls


ROWS = (
    *_server(families.ENTERPRISE),
    *_server(replace(families.SERVERS["images"], name="v1/enterprise/{server}")),
)
