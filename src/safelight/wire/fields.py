"""Names and values as they come become one mapping: the last of a name wins, as with PHP, which the hosted services run on.

What JSON parsers let through and neither a database nor a model can take is refused by its name. Knows no body.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from safelight.errors import Invalid

MOST_DIGITS = 64
_NAME = re.compile(r"[A-Za-z0-9_.\-\[\]]{1,64}")


def gather(pairs: Iterable[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in pairs:
        if _NAME.fullmatch(name):
            _check(name, value)
        else:
            _check("body", [name, value])
        found[name] = value
    return found


def whole(digits: str) -> float:
    """An integer; one of absurd length becomes infinite, so that it is refused by its field's name."""
    return int(digits) if len(digits) <= MOST_DIGITS else math.inf


def _check(name: str, value: object) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise Invalid(name, f"must be a finite number of at most {MOST_DIGITS} digits")
    if isinstance(value, str) and "\0" in value:
        raise Invalid(name, "must not contain NUL characters")
    if isinstance(value, str) and not value.isascii() and not _encodes(value):
        raise Invalid(name, "must be valid Unicode, without lone surrogates")
    if isinstance(value, list):
        for part in value:
            _check(name, part)


def _encodes(value: str) -> bool:
    try:
        return bool(value.encode())
    except UnicodeEncodeError:
        return False
