"""How a request rests in the database: to JSON and back by its task, and text that cannot be kept refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from typing import Any

from safelight.errors import Invalid
from safelight.records import (
    ControlUse,
    CutOutRequest,
    ImageRequest,
    InstallRequest,
    JobRequest,
    JudgeRequest,
    Operation,
    Task,
    UpscaleRequest,
)


def to_json(request: JobRequest) -> dict[str, Any]:
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
    return {"task": request.task.value, **body}


def from_json(body: Mapping[str, Any]) -> JobRequest:
    """What is not known any more, or not yet, is passed over."""
    return _READERS[Task(body.get("task", Task.generate))](body)


def _image_request(body: Mapping[str, Any]) -> ImageRequest:
    known = _known(ImageRequest, body)
    loras = tuple((str(name), float(strength)) for name, strength in known.pop("loras", ()))
    controls = tuple(ControlUse(*each) for each in known.pop("controls", ()))
    operation = Operation(known["operation"])
    return ImageRequest(**{**known, "operation": operation, "loras": loras, "controls": controls})


def _known(record: type[JobRequest], body: Mapping[str, Any]) -> dict[str, Any]:
    """JSON knows lists only; what a caller is told rests as tuples."""
    names = {field.name for field in fields(record)}
    told = {name: tuple(body.get(name, ())) for name in ("notes", "ignored")}
    return {name: value for name, value in body.items() if name in names} | told


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


_READERS: dict[Task, Callable[[Mapping[str, Any]], JobRequest]] = {
    Task.generate: _image_request,
    Task.install_model: lambda body: InstallRequest(**_known(InstallRequest, body)),
    Task.judge: lambda body: JudgeRequest(**_known(JudgeRequest, body)),
    Task.cut_out: lambda body: CutOutRequest(**_known(CutOutRequest, body)),
    Task.upscale: lambda body: UpscaleRequest(**_known(UpscaleRequest, body)),
}
