"""Tolerant reading: JSON, a form, multipart or the query string become one ``Form``, its fields become checked values.

Whatever is wrong is an ``Invalid`` that names the field and the rule. Knows no endpoint, no dialect and no service.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import parse_qsl

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from safelight.errors import Invalid
from safelight.settings import Settings
from safelight.wire.fields import gather
from safelight.wire.json_body import read_json

BIG = 2**18  # bytes from which a body is parsed in a thread
MOST_FIELDS = 1_000
MOST_ESCAPES = (
    1_000_000  # percent signs in a form; bounds what parsing can cost. Base64 of the largest picture needs fewer
)

_MULTIPART = "must be whole multipart/form-data without files; give pictures by address, data URI or base64"
_YES = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}
_NUMBER = re.compile(r"[+-]?(\d{1,64}(\.\d{0,64})?|\.\d{1,64})(e[+-]?\d{1,4})?", re.ASCII | re.IGNORECASE)
UNSET = frozenset({"", "null", "none", "undefined"})  # words that programs send for a value that they do not have


class TooLarge(Invalid):
    """The body is larger than the server takes."""


class TooSlow(Invalid):
    """The body did not arrive in time."""


@dataclass(frozen=True, slots=True)
class Form:
    """What a caller sent, merged: the body's fields win over the query's. ``key`` is the API key, wherever it was."""

    fields: Mapping[str, object]
    key: str = ""

    def has(self, name: str) -> bool:
        return not _unset(self.fields.get(name))

    def either(self, *names: str) -> str:
        """The first of several names for one thing that has a value, or the first."""
        return next((name for name in names if self.has(name)), names[0])

    def text(self, name: str, *, limit: int, default: str = "") -> str:
        value = self.fields.get(name)
        return default if value is False or _unset(value) else _text(name, value, limit)

    def address(self, name: str, *, limit: int) -> str:
        """A word that says no is no address either: ``false`` of a form."""
        word = self.text(name, limit=limit).strip()
        return "" if _YES.get(word.lower()) is False else word

    def choice(self, name: str, *, limit: int) -> str:
        """A name out of many; ``auto`` leaves the choice to us."""
        word = self.text(name, limit=limit).strip()
        return "" if word.lower() == "auto" else word

    def required(self, name: str, *, limit: int) -> str:
        """Any words, those that elsewhere mean nothing too."""
        value = self.fields.get(name)
        if value in (None, "") or not _text(name, value, limit).strip():
            raise Invalid(name, "is required")
        return _text(name, value, limit)

    def yes(self, name: str, default: bool) -> bool:
        value = self.fields.get(name)
        word = value.strip().lower() if isinstance(value, str) else value
        if word == "auto" or _unset(word):
            return default
        if isinstance(word, int | float | str) and (truth := _YES.get(str(word).lower())) is not None:
            return truth
        raise Invalid(name, "must be yes or no")

    def real(self, name: str, default: float, low: float, high: float) -> float:
        number = _number(name, self.fields.get(name))
        if number is None:
            return default
        if not low <= number <= high:
            raise Invalid(name, f"must be between {low:g} and {high:g}")
        return float(number)

    def whole(self, name: str, default: int, low: int | None = None, high: int | None = None) -> int:
        number = _number(name, self.fields.get(name))
        if number is None:
            return default
        if isinstance(number, float) and not number.is_integer():
            raise Invalid(name, "must be a whole number")
        if low is not None and high is not None and not low <= number <= high:
            raise Invalid(name, f"must be between {low} and {high}")
        if low is not None and number < low:
            raise Invalid(name, f"must be at least {low}")
        return int(number)

    def moment(self, name: str) -> datetime | None:
        """A moment that names no zone is in UTC."""
        word = self.text(name, limit=40)
        if not word:
            return None
        try:
            found = datetime.fromisoformat(word)
        except ValueError:
            raise Invalid(name, "must be a date, or a date and time, as in 2026-11-21T12:00:00Z") from None
        return found if found.tzinfo else found.replace(tzinfo=UTC)

    def scalar(self, name: str, *, limit: int) -> str | float | None:
        """Any one value, unchanged."""
        value = self.fields.get(name)
        if isinstance(value, str) and len(value) > limit:
            raise Invalid(name, f"must have at most {limit:,} characters")
        if value is None or isinstance(value, str | int | float):
            return value
        raise Invalid(name, "must be a string or a number")


async def read_form(request: Request, settings: Settings) -> Form:
    """Everything that a request says. Raises Invalid, TooLarge or TooSlow."""
    body = await _read_body(request, settings.max_body_bytes, settings.body_seconds)
    query = _urlencoded(request.scope["query_string"], "query")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        given = await _multipart(request, body)
    elif len(body) > BIG:
        given = await asyncio.to_thread(_parse, kind, body)
    else:
        given = _parse(kind, body)
    found = query | {name: value for name, value in given.items() if value not in (None, "") or name not in query}
    return Form({name: value for name, value in found.items() if name != "key"}, _key(request, given, query))


async def read_upload(request: Request, settings: Settings) -> tuple[Form, dict[str, list[bytes]]]:
    """The same where files may come as parts: they stand beside the form, under their names without a final ``[]``."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        return await read_form(request, settings), {}
    body = await _read_body(request, settings.max_body_bytes, settings.body_seconds)
    query = _urlencoded(request.scope["query_string"], "query")
    files: dict[str, list[bytes]] = {}
    fields: list[tuple[str, object]] = []
    for name, value in await _parts(request, body):
        if isinstance(value, str):
            fields.append((name, value))
        elif value:
            files.setdefault(name.removesuffix("[]"), []).append(value)
    given = query | gather(fields)
    return Form({name: value for name, value in given.items() if name != "key"}, _key(request, given, query)), files


def _key(request: Request, body: Mapping[str, object], query: Mapping[str, object]) -> str:
    """The body's key wins; Authorization comes last, since clients leave another service's key there."""
    authorization = request.headers.get("authorization", "")
    scheme, _, rest = authorization.partition(" ")
    bare = rest if scheme.lower() == "bearer" else authorization
    named = request.headers.get("key") or request.headers.get("x-api-key")
    places = (body.get("key"), named, query.get("key"), bare)
    return next((str(place).strip() for place in places if place not in (None, "")), "")


async def _read_body(request: Request, most: int, seconds: float) -> bytes:
    if request.headers.get("content-encoding", "identity").lower() not in ("", "identity"):
        raise Invalid("Content-Encoding", "is not supported; send the body as it is")
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and (len(announced) > 18 or int(announced) > most):
        raise _too_large(most)
    chunks, size = [], 0
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                size += len(chunk)
                if size > most:
                    raise _too_large(most)
                chunks.append(chunk)
    except TimeoutError:
        raise TooSlow("body", f"must arrive within {seconds:g} seconds") from None
    return b"".join(chunks)


def _too_large(most: int) -> TooLarge:
    return TooLarge("body", f"must have at most {most:,} bytes")


def _parse(kind: str, body: bytes) -> dict[str, object]:
    """JSON is read under any name, since curl and old clients call it a form or plain text."""
    if not body.strip():
        return {}
    if body.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"{", b"[") or kind.endswith("json"):
        return read_json(body)
    if kind in ("", "application/x-www-form-urlencoded", "text/plain"):
        return _urlencoded(body, "body")
    raise Invalid("Content-Type", "must be application/json, application/x-www-form-urlencoded or multipart/form-data")


def _urlencoded(raw: bytes, place: str) -> dict[str, object]:
    if raw.count(b"%") > MOST_ESCAPES:
        raise Invalid(place, f"must have at most {MOST_ESCAPES:,} escaped characters")
    try:
        pairs = parse_qsl(raw.decode(), keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS)
    except UnicodeDecodeError:
        raise Invalid(place, "must be UTF-8") from None
    except ValueError:
        raise Invalid(place, f"must have at most {MOST_FIELDS:,} fields") from None
    return gather(pairs)


async def _multipart(request: Request, body: bytes) -> dict[str, object]:
    """A file that was not chosen comes as a part without bytes."""
    parts = await _parts(request, body)
    if any(value for _, value in parts if isinstance(value, bytes)):
        raise Invalid("body", _MULTIPART)
    return gather((name, "" if isinstance(value, bytes) else value) for name, value in parts)


async def _parts(request: Request, body: bytes) -> list[tuple[str, str | bytes]]:
    """Of a multipart body: text of fields, bytes of files."""

    async def stream() -> AsyncGenerator[bytes, None]:
        yield body

    parser = MultiPartParser(
        request.headers, stream(), max_files=MOST_FIELDS, max_fields=MOST_FIELDS, max_part_size=max(len(body), 1)
    )
    parser.spool_max_size = len(body) + 1  # no file of a caller's touches a disk on its way
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError, ValueError):
        raise Invalid("body", _MULTIPART) from None
    try:
        return [(name, await _content(value)) for name, value in form.multi_items()]
    finally:
        await form.close()


async def _content(value: str | UploadFile) -> str | bytes:
    return value if isinstance(value, str) else await value.read()


def _unset(value: object) -> bool:
    return value is None or (isinstance(value, str) and value.strip().lower() in UNSET)


def _text(name: str, value: object, limit: int) -> str:
    if not isinstance(value, str):
        raise Invalid(name, "must be a string")
    if len(value) > limit:
        raise Invalid(name, f"must have at most {limit:,} characters")
    return value


def _number(name: str, value: object) -> float | None:
    if isinstance(value, str):
        word = value.strip()
        if word.lower() == "auto" or _unset(word):
            return None
        if not _NUMBER.fullmatch(word):
            raise Invalid(name, "must be a number")
        value = int(word) if word.lstrip("+-").isdecimal() else float(word)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Invalid(name, "must be a number")
    if not math.isfinite(value):
        raise Invalid(name, "must be a finite number")
    return value
