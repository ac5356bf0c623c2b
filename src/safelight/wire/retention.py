"""Safelight's own endpoints for how long an account's things are kept, and whether at all: what was set, and setting it.

Knows no vendor's words.
"""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from safelight.errors import Invalid
from safelight.records import Account
from safelight.service.jobs import LARGEST_ID
from safelight.service.retention import DAY, LEAST, MOST
from safelight.service.services import Services
from safelight.wire.house import REFUSALS, SAFE
from safelight.wire.http import answer, read_caller
from safelight.wire.keeping import ALL, NONE, read_store, says_store
from safelight.wire.openapi import Operation, Shape, add

PATH = "/v1/retention"


def routes(services: Services) -> APIRouter:
    router = APIRouter(tags=["Erasure"])

    async def read(request: Request) -> Response:
        _, account = await read_caller(services, request)
        return await _told(services, account)

    async def limit(request: Request) -> Response:
        form, account = await read_caller(services, request)
        key = form.whole("key_id", 0, 0, LARGEST_ID)
        if key:
            await services.accounts.own_key(account, key)
        if "seconds" in form.fields:
            seconds = form.whole("seconds", 0, LEAST, MOST) or None
            await services.retention.limit(account, seconds, key_id=key)
        elif not says_store(form):
            raise Invalid("", "Say what to set: seconds (null lifts the limit), or store.")
        if says_store(form):
            await services.accounts.store(account, read_store(form), key)
        return await _told(services, account)

    for method in SAFE:
        add(router, method, PATH, read, READ)
    add(router, "PUT", PATH, limit, LIMIT)
    return router


async def _told(services: Services, account: Account) -> Response:
    limits = await services.retention.limits(account)
    days = services.settings.output_days
    told = [{"seconds": each.seconds, "key_id": each.key_id, "set_by": each.set_by} for each in limits]
    return answer(
        {
            "limits": told,
            "server_seconds": days * DAY if days else None,
            "store": ALL if await services.accounts.stores(account) else NONE,
            "keys_without_store": [key.id for key in await services.accounts.own_keys(account) if not key.stores],
        }
    )


_LIMITS = Shape(
    "Retention",
    {
        "type": "object",
        "properties": {
            "limits": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "seconds": {"type": "number"},
                        "key_id": {"type": ["integer", "null"], "description": "null: whatever the key."},
                        "set_by": {"enum": ["owner", "operator"]},
                    },
                    "required": ["seconds", "key_id", "set_by"],
                },
            },
            "server_seconds": {"type": ["number", "null"], "description": "For generations, whosever they are."},
            "store": {"enum": [ALL, NONE], "description": "none: of what is asked for nothing is stored."},
            "keys_without_store": {"type": "array", "items": {"type": "integer"}},
        },
        "required": ["limits", "server_seconds", "store", "keys_without_store"],
    },
)
_EXAMPLE = {
    "limits": [{"seconds": 604800, "key_id": 7, "set_by": "owner"}],
    "server_seconds": 2592000,
    "store": ALL,
    "keys_without_store": [],
}
READ = Operation("How long what the account made and sent is kept, and whether at all", _LIMITS, _EXAMPLE, REFUSALS)
LIMIT = Operation(
    "Limit how long it is kept, also what is kept already; or let nothing be stored",
    _LIMITS,
    _EXAMPLE,
    REFUSALS,
    Shape(
        "RetentionLimit",
        {
            "type": "object",
            "properties": {
                "seconds": {
                    "type": ["integer", "null"],
                    "minimum": LEAST,
                    "maximum": MOST,
                    "description": "null lifts it.",
                },
                "store": {"enum": [ALL, NONE]},
                "key_id": {"type": ["integer", "null"], "description": "Only what is asked for by this key."},
            },
        },
    ),
    {"seconds": 604800},
)
OPERATIONS = (READ, LIMIT)
