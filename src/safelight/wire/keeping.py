"""What a request says of how long it is kept, and whether at all, in the words that every dialect shares. Knows no dialect."""

from __future__ import annotations

from typing import Any

from safelight.errors import Invalid
from safelight.records import Account
from safelight.service.retention import LEAST, MOST
from safelight.service.unstored import Gone
from safelight.wire.forms import Form
from safelight.wire.http import RECEIPT
from safelight.wire.openapi import Schema

EXPIRES_IN, STORE = "expires_in", "store"
NONE, ALL = "none", "all"
EXPIRY: Schema = {
    EXPIRES_IN: {
        "type": ["integer", "string", "null"],
        "minimum": LEAST,
        "maximum": MOST,
        "description": f"Seconds from its end until it is erased by itself, {LEAST} to {MOST}. The shortest of all limits counts.",
    }
}
DESCRIBED: Schema = EXPIRY | {
    STORE: {
        "enum": [ALL, NONE, True, False, None],
        "description": "none: answered with base64 when it is done, and nothing of it is stored. Else all.",
    }
}
_WORDS = {
    NONE: False,
    "no": False,
    "false": False,
    "0": False,
    ALL: True,
    "yes": True,
    "true": True,
    "1": True,
    "": True,
}


def read_keeping(form: Form) -> dict[str, Any]:
    """The fields of a ``JobRequest`` that say it."""
    return {"expires_in": read_expires_in(form), "store": read_store(form)}


def read_expires_in(form: Form) -> float | None:
    return form.whole(EXPIRES_IN, 0, LEAST, MOST) or None


def read_store(form: Form) -> bool:
    value = form.fields.get(STORE)
    word = "" if value is None else str(value).strip().lower()
    if isinstance(value, list | dict) or word not in _WORDS:
        raise Invalid(STORE, f"must be {ALL} or {NONE}")
    return _WORDS[word]


def says_store(form: Form) -> bool:
    """To every other field the word none means that nothing was said."""
    return form.fields.get(STORE) not in (None, "")


def must_store(form: Form, why: str) -> None:
    """Raises Invalid where nothing may be stored."""
    if not read_store(form):
        raise Invalid(STORE, f"cannot be {NONE} here: {why}")


def as_preferred(form: Form, account: Account) -> Form:
    """Of an account or key that wants nothing stored every request says so."""
    return form if account.stores else Form({**form.fields, STORE: NONE}, form.key)


def receipt_of(gone: Gone) -> dict[str, str]:
    return {RECEIPT: gone.receipt} if gone.receipt else {}
