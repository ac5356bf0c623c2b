"""JSON as clients and the vendors' own pages write it: strict first, and where that fails once more, mended.

Mended are commas too many before a closing bracket, commas that are missing, names without quotes and line breaks inside
strings. A body that was cut short stays one. Knows no field.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from safelight.errors import Invalid
from safelight.wire.fields import gather, whole

MOST_PARTS = 200_000  # commas in a body; bounds what parsing can cost in memory
MOST_TOKENS = 4 * MOST_PARTS

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+"?|[{}\[\]:,]|[^\s{}\[\]:,"]++', re.DOTALL)
_BARE_NAME = re.compile(r"[A-Za-z_$][\w$]*", re.ASCII)


def read_json(body: bytes) -> dict[str, object]:
    """Raises Invalid."""
    if body.count(b",") > MOST_PARTS:
        raise Invalid("body", f"must have at most {MOST_PARTS:,} parts")
    try:
        found = _parsed(body.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise Invalid("body", "must be UTF-8") from None
    except RecursionError:
        raise Invalid("body", "is nested too deeply") from None
    if not isinstance(found, dict):
        raise Invalid("body", "must be a JSON object")
    return found


def _parsed(text: str) -> object:
    try:
        return _loads(text, strict=True)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
    try:
        return _loads("".join(_mended(text)), strict=False)
    except json.JSONDecodeError:
        raise Invalid("body", f"is not valid JSON at {where}") from None


def _loads(text: str, *, strict: bool) -> object:
    return json.loads(text, object_pairs_hook=gather, parse_int=whole, parse_constant=float, strict=strict)


def _mended(text: str) -> Iterator[str]:
    """One token behind, since what a comma or a name is worth is told by what follows it."""
    before = ""
    for number, found in enumerate(_TOKEN.finditer(text)):
        if number > MOST_TOKENS:
            return
        part = found[0]
        if part == ":" and _BARE_NAME.fullmatch(before):
            before = f'"{before}"'
        yield "" if before == "," and part in ("}", "]") else before
        if before and before not in "{[:," and part not in ("}", "]", ":", ","):
            yield ","
        before = part
    yield before
