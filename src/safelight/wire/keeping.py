"""What a request says of how long it is kept, in the words that every dialect shares. Knows no dialect."""

from __future__ import annotations

from safelight.service.retention import LEAST, MOST
from safelight.wire.forms import Form
from safelight.wire.openapi import Schema

EXPIRES_IN = "expires_in"
DESCRIBED: Schema = {
    EXPIRES_IN: {
        "type": ["integer", "string", "null"],
        "description": f"Seconds from its end until it is erased by itself, {LEAST} to {MOST}. The shortest of all limits counts.",
    }
}


def read_expires_in(form: Form) -> float | None:
    return form.whole(EXPIRES_IN, 0, LEAST, MOST) or None
