"""Safelight's own dialect for erasing: one file's request, many by ids or by what is true of them, and the receipts.

Knows no vendor's words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast, get_args

from fastapi import APIRouter, Request, Response

from safelight.errors import Invalid, NotFound
from safelight.records import Account, Receipt
from safelight.service.batches import Kind, Wanted, Weight
from safelight.service.services import Services
from safelight.wire.erasures_described import ASSET, ERASE, RECEIPT_OF, RECEIPTS
from safelight.wire.forms import Form
from safelight.wire.house import SAFE
from safelight.wire.http import RECEIPT, answer, path_id, read_caller
from safelight.wire.openapi import add

MOST_IDS = 100_000
MOST_NAMED = 20  # ids in a sentence
MOST_RECEIPTS = 100  # in one page
MOST_TRACK_ID = 1_000  # letters

Json = dict[str, object]


def routes(services: Services) -> APIRouter:
    router = APIRouter(tags=["Erasure"])

    async def asset(request: Request) -> Response:
        """By the id of its request, or by the name of one of its files."""
        _, account = await read_caller(services, request)
        which = str(request.path_params["id"])
        numbered = which.isascii() and which.isdecimal()
        receipt = await (
            services.erasure.delete(account, [path_id(request)])
            if numbered
            else services.erasure.delete_named(account, which)
        )
        return answer({"id": which, "status": "erased", "receipt": receipt.id}, headers={RECEIPT: receipt.id})

    async def erase(request: Request) -> Response:
        form, account = await read_caller(services, request)
        ids, wanted = read_ids(form), read_wanted(form)
        if form.yes("dry_run", False):
            return answer(write_weight(await weigh(services, account, ids, wanted)))
        try:
            receipt = await (
                services.erasure.delete_where(account, wanted)
                if ids is None
                else services.erasure.delete_many(account, ids)
            )
        except NotFound as missing:
            raise _named(missing) from None
        return answer(write_receipt(receipt), headers={RECEIPT: receipt.id})

    async def page(request: Request) -> Response:
        form, account = await read_caller(services, request)
        limit = form.whole("limit", 20, 1, MOST_RECEIPTS)
        found = await services.erasure.receipts(account, form.text("before", limit=100) or None, limit + 1)
        following = found[limit - 1].id if len(found) > limit else None
        return answer({"erasures": [_without_ids(receipt) for receipt in found[:limit]], "next": following})

    async def one(request: Request) -> Response:
        _, account = await read_caller(services, request)
        return answer(write_receipt(await services.erasure.receipt(account, request.path_params["id"])))

    add(router, "DELETE", "/v1/assets/{id}", asset, ASSET)
    add(router, "POST", "/v1/erasures", erase, ERASE)
    for method in SAFE:
        add(router, method, "/v1/erasures", page, RECEIPTS)
        add(router, method, "/v1/erasures/{id}", one, RECEIPT_OF)
    return router


async def weigh(services: Services, account: Account, ids: Sequence[int] | None, wanted: Wanted) -> Weight:
    batches = services.erasure.batches
    if ids is None:
        return await batches.weigh(account, await batches.meant(account, wanted))
    try:
        await batches.check(account, ids)
    except NotFound as missing:
        raise _named(missing) from None
    return await batches.weigh(account, ids)


def read_ids(form: Form) -> list[int] | None:
    """None where a filter is given instead. Whoever names nothing at all erases nothing at all."""
    given, filtered = form.fields.get("ids"), any(form.has(name) for name in ("older_than", "kind", "track_id"))
    if (form.has("ids"), filtered, form.yes("everything", False)).count(True) != 1:
        raise Invalid("", "Say what to erase: ids, or one or more of older_than, kind and track_id, or everything: yes")
    if not form.has("ids"):
        return None
    if not isinstance(given, list) or not given or len(given) > MOST_IDS:
        raise Invalid("ids", f"must be a list of 1 to {MOST_IDS:,} ids")
    return list(dict.fromkeys(_id(each) for each in given))


def read_wanted(form: Form) -> Wanted:
    kind, track_id = form.text("kind", limit=100), form.scalar("track_id", limit=MOST_TRACK_ID)
    if kind and kind not in get_args(Kind):
        raise Invalid("kind", f"must be one of {', '.join(get_args(Kind))}")
    track = str(track_id) if form.has("track_id") else None
    return Wanted(form.moment("older_than"), cast(Kind, kind) if kind else None, track)


def write_receipt(receipt: Receipt) -> Json:
    status = "erasing" if receipt.left else "erased" if receipt.verified_at is None else "verified"
    return {
        "id": receipt.id,
        "status": status,
        "scope": receipt.scope,
        "requests": len(receipt.request_ids),
        "left": receipt.left,
        "request_ids": list(receipt.request_ids),
        "assets": receipt.assets,
        "bytes": receipt.bytes,
        "key_id": receipt.key_id,
        "requested_at": receipt.requested_at,
        "verified_at": receipt.verified_at,
    }


def write_weight(weight: Weight) -> Json:
    return {"dry_run": True, "requests": weight.requests, "assets": weight.assets, "bytes": weight.bytes}


def _without_ids(receipt: Receipt) -> Json:
    return {name: value for name, value in write_receipt(receipt).items() if name != "request_ids"}


def _named(missing: NotFound) -> NotFound:
    more = "" if len(missing.ids) <= MOST_NAMED else f" and {len(missing.ids) - MOST_NAMED} more"
    return NotFound(f"Not found: {', '.join(map(str, missing.ids[:MOST_NAMED]))}{more}. Nothing was erased.")


def _id(given: object) -> int:
    if isinstance(given, int) and not isinstance(given, bool):
        return given
    if isinstance(given, str) and given.isascii() and given.isdecimal() and len(given) < 20:
        return int(given)
    raise Invalid("ids", "must hold whole numbers only")
