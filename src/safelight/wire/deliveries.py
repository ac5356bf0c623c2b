"""Safelight's own endpoints for webhooks: which were owed, how far each got, and sending one again. Knows no vendor's words."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from safelight.errors import Invalid
from safelight.service.outbox import Posted, PostedState
from safelight.service.services import Services
from safelight.wire.forms import Form
from safelight.wire.house import REFUSALS, SAFE
from safelight.wire.http import answer, read_caller
from safelight.wire.openapi import Operation, Shape, add

PATH = "/v1/webhooks/deliveries"
MOST = 100  # in one page


def routes(services: Services) -> APIRouter:
    router = APIRouter(tags=["Webhooks"])

    async def page(request: Request) -> Response:
        form, account = await read_caller(services, request)
        before = form.whole("before", 0, 1, 2**63 - 1) or None
        limit = form.whole("limit", 20, 1, MOST)
        found = await services.outbox.posted(account, _state(form), before=before, limit=limit + 1)
        last = found[limit - 1].job_id if len(found) > limit else None
        return answer({"deliveries": [write_posted(each) for each in found[:limit]], "next": last})

    async def replay(request: Request) -> Response:
        _, account = await read_caller(services, request)
        return answer(write_posted(await services.outbox.replay(account, request.path_params["id"])))

    for method in SAFE:
        add(router, method, PATH, page, PAGE)
    add(router, "POST", f"{PATH}/{{id}}/replay", replay, REPLAY)
    return router


def write_posted(posted: Posted) -> dict[str, object]:
    return {
        "id": str(posted.id),
        "job_id": posted.job_id,
        "state": posted.state.value,
        "attempts": posted.attempt,
        "last_status": posted.status,
        "created_at": posted.created_at,
        "ended_at": posted.ended_at,
    }


def _state(form: Form) -> PostedState | None:
    word = form.text("state", limit=40)
    try:
        return PostedState(word) if word else None
    except ValueError:
        raise Invalid("state", f"must be one of {', '.join(PostedState)}") from None


_DELIVERY = Shape(
    "Delivery",
    {
        "type": "object",
        "properties": {
            "id": {"type": "string", "description": "What the receiver is told as webhook-id."},
            "job_id": {"type": "integer"},
            "state": {"enum": [state.value for state in PostedState], "description": "dead: given up."},
            "attempts": {"type": "integer"},
            "last_status": {
                "type": ["integer", "null"],
                "description": "The receiver's last answer; null: it gave none.",
            },
            "created_at": {"type": "string"},
            "ended_at": {"type": ["string", "null"]},
        },
        "required": ["id", "job_id", "state", "attempts", "last_status", "created_at"],
    },
)
_EXAMPLE = {
    "id": "3d0ff9a4-5c5f-4c5a-9d51-2f4a5d3a7c10",
    "job_id": 302455,
    "state": "dead",
    "attempts": 10,
    "last_status": 503,
    "created_at": "2026-11-21T12:00:03Z",
    "ended_at": "2026-11-24T18:35:12Z",
}
PAGE = Operation(
    "The webhooks that were asked for, of the newest job first",
    Shape(
        "DeliveryPage",
        {
            "type": "object",
            "properties": {
                "deliveries": {"type": "array", "items": _DELIVERY.ref},
                "next": {"type": ["integer", "null"], "description": "What to give as before for the next page."},
            },
            "required": ["deliveries", "next"],
        },
    ),
    {"deliveries": [_EXAMPLE], "next": 302455},
    REFUSALS,
    Shape(
        "DeliveryQuery",
        {
            "type": "object",
            "properties": {
                "state": {"enum": [state.value for state in PostedState]},
                "before": {"type": "integer"},
                "limit": {"type": "integer", "minimum": 1, "maximum": MOST},
            },
        },
    ),
)
REPLAY = Operation(
    "Send a webhook again, at once and with all its attempts",
    _DELIVERY,
    _EXAMPLE | {"state": "waiting", "attempts": 0, "ended_at": None},
    REFUSALS,
)
OPERATIONS = (PAGE, REPLAY)
