"""How an image request rests in the database: to JSON and back, text that cannot be kept refused, and what it will cost."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from safelight.errors import Invalid
from safelight.records import ImageRequest, Operation


def to_json(request: ImageRequest) -> dict[str, Any]:
    """Raises Invalid for what no database and no JSON can hold: NUL characters, lone surrogates, numbers that are none."""
    body = {field.name: getattr(request, field.name) for field in fields(request)}
    body["extras"] = dict(request.extras)
    for name, value in body.items():
        for text in _texts(value):
            if "\x00" in text or not _encodable(text):
                raise Invalid(name, "must not contain NUL characters or broken Unicode")
    try:
        json.dumps(body, allow_nan=False)
    except ValueError as error:
        raise Invalid("", "every number must be finite") from error
    return body


def from_json(body: Mapping[str, Any]) -> ImageRequest:
    known = {name: value for name, value in body.items() if name in ImageRequest.__dataclass_fields__}
    loras = tuple((str(name), float(strength)) for name, strength in known.pop("loras", ()))
    return ImageRequest(**{**known, "operation": Operation(known["operation"]), "loras": loras})


def steps_of(request: ImageRequest) -> int:
    """Denoising steps that will really be run: with an init image, the part that its strength leaves."""
    if request.operation is Operation.text2img:
        return request.steps
    return max(1, min(request.steps, int(request.steps * request.strength)))


def cost_of(request: ImageRequest) -> float:
    """Pixels x rows x steps, which the time on the engine is proportional to."""
    rows = request.samples * (2 if request.guidance_scale > 1 else 1)
    return float(request.width * request.height * rows * steps_of(request))


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield from _texts(key)
            yield from _texts(each)
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _texts(each)


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
