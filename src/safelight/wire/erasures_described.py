"""Safelight's own endpoints for erasing as OpenAPI: what each takes and answers."""

from __future__ import annotations

from safelight.wire.house import REFUSALS
from safelight.wire.openapi import Operation, Schema, Shape

_FIELDS: dict[str, object] = {
    "id": {"type": "string"},
    "status": {
        "enum": ["erasing", "erased", "verified"],
        "description": "erasing: `left` requests have not had their turn, and will. erased: nothing can be read any more. "
        "verified: nor is a byte of it left.",
    },
    "scope": {"enum": ["job", "jobs", "asset", "cache", "expiry", "filter", "unstored", "account"]},
    "requests": {"type": "integer"},
    "left": {"type": "integer"},
    "assets": {"type": "integer"},
    "bytes": {"type": "integer"},
    "key_id": {"type": ["integer", "null"]},
    "requested_at": {"type": "string"},
    "verified_at": {"type": ["string", "null"], "description": "null until all bytes were seen to be gone."},
}
_IDS: Schema = {"type": "array", "items": {"type": "integer"}}
_RECEIPT = Shape(
    "Receipt",
    {
        "type": "object",
        "properties": _FIELDS | {"request_ids": _IDS},
        "required": ["id", "status", "scope", "request_ids", "assets", "bytes", "requested_at", "verified_at"],
    },
)
_SHORT: dict[str, object] = {
    "id": "7b1c6a52-53c8-4d1b-8a5e-0d7a0c7f3a11",
    "status": "verified",
    "scope": "job",
    "requests": 1,
    "left": 0,
    "assets": 2,
    "bytes": 812345,
    "key_id": 1,
    "requested_at": "2026-11-21T12:00:00Z",
    "verified_at": "2026-11-21T12:00:01Z",
}
_EXAMPLE = _SHORT | {"request_ids": [302455]}
_ERASED = Shape(
    "AssetErased",
    {
        "type": "object",
        "properties": {"id": {"type": "string"}, "status": {"const": "erased"}, "receipt": {"type": "string"}},
        "required": ["id", "status", "receipt"],
    },
)
_WHAT = Shape(
    "Erasure",
    {
        "type": "object",
        "description": "Either `ids`, or `everything`, or one or more of `older_than`, `kind` and `track_id`: then what all of "
        "them are true of.",
        "properties": {
            "ids": _IDS | {"maxItems": 100_000, "description": "Of generations and uploads: all of them, or none."},
            "older_than": {"type": "string", "description": "A date, or a date and time: what was made before."},
            "kind": {"enum": ["generation", "upload"]},
            "track_id": {"type": ["string", "number"], "description": "Of the generations asked for with it."},
            "everything": {"type": "boolean", "description": "All that the account has."},
            "dry_run": {"type": "boolean", "description": "Only say what would be erased."},
        },
    },
)
_PAGE = Shape(
    "ReceiptPage",
    {
        "type": "object",
        "properties": {
            "erasures": {"type": "array", "items": {"type": "object", "properties": _FIELDS}},
            "next": {"type": ["string", "null"]},
        },
        "required": ["erasures"],
    },
)
_QUERY = Shape(
    "ReceiptQuery",
    {
        "type": "object",
        "properties": {
            "limit": {"type": "integer", "minimum": 1, "maximum": 100, "default": 20},
            "before": {"type": "string", "description": "The `next` of the page before."},
        },
    },
)
ASSET = Operation(
    "Erase a generation or an upload, by its id or by the name of one of its files",
    _ERASED,
    {"id": "302455", "status": "erased", "receipt": _SHORT["id"]},
    REFUSALS,
)
ERASE = Operation(
    "Erase many: by ids, or by what is true of them. Large ones go on after the answer; the receipt tells how far they are",
    _RECEIPT,
    _EXAMPLE,
    REFUSALS,
    _WHAT,
    {"older_than": "2026-10-01", "kind": "generation"},
)
RECEIPTS = Operation(
    "The receipts of your erasures, newest first and page by page",
    _PAGE,
    {"erasures": [_SHORT], "next": None},
    REFUSALS,
    _QUERY,
)
RECEIPT_OF = Operation(
    "The receipt of an erasure, by the id in its answer's X-Safelight-Receipt header",
    _RECEIPT,
    _EXAMPLE,
    REFUSALS,
)
OPERATIONS = (ASSET, ERASE, RECEIPTS, RECEIPT_OF)
