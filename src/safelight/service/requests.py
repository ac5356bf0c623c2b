"""How a request rests in the database: to JSON and back by its task, a row to a job, and what cannot be kept refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from datetime import datetime
from functools import cache
from typing import Any

from safelight.errors import Invalid
from safelight.records import (
    CaptionRequest,
    ControlUse,
    CutOutRequest,
    Draft,
    ImageRequest,
    InstallRequest,
    Job,
    JobRequest,
    JobState,
    JudgeRequest,
    MixUse,
    Operation,
    Task,
    UpscaleRequest,
)
from safelight.storage.database import Row

NOT_KEPT = "cannot be had with store none: nothing is kept of it"


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


def check_store(request: JobRequest, *, preferred: bool, repeatable: bool) -> None:
    """Raises Invalid naming what cannot be had of a request that is not stored, or that there is one that would be stored.

    ``preferred``: its account and key let it be stored. ``repeatable``: sent again, it is to be answered as before.
    """
    if request.store:
        if not preferred and request.task is not Task.install_model:
            raise Invalid("store", "is none for this account or key, and this can only be had stored")
        return
    for name in ("webhook", "instant_response", "temp", "expires_in"):
        if getattr(request, name):
            raise Invalid(name, NOT_KEPT)
    if repeatable:
        raise Invalid("Idempotency-Key", NOT_KEPT)


def from_json(body: Mapping[str, Any]) -> JobRequest:
    """What is not known any more, or not yet, is passed over."""
    return _READERS[Task(body.get("task", Task.generate))](body)


def job_of(row: Row, text: Mapping[str, Any] | None) -> Job:
    native: Any = (row["native_width"], row["native_height"])
    started: datetime | None = row["started_at"]
    return Job(
        id=row["id"], account_id=row["account_id"], state=JobState(row["state"]), file_prefix=row["file_prefix"],
        request=from_json(text) if text else None, created_at=row["created_at"], started_at=started,
        finished_at=row["finished_at"], attempt=row["attempt"], step=row["step"], steps=row["steps"], seconds=row["seconds"],
        model=row["model"], nsfw=tuple(row["nsfw"]), native_size=native if native[0] else None, outputs=row["outputs"],
        error=row["error"], erased_at=row["erased_at"], expires_at=row["expires_at"],
    )  # fmt: skip


def _image_request(body: Mapping[str, Any]) -> ImageRequest:
    known = _known(ImageRequest, body)
    loras = tuple((str(name), float(strength)) for name, strength in known.pop("loras", ()))
    controls = tuple(ControlUse(*each) for each in known.pop("controls", ()))
    mixture = tuple(MixUse(*each) for each in known.pop("mixture", ()))
    draft = Draft(*given) if (given := known.pop("draft", None)) else None
    used = {
        "loras": loras,
        "controls": controls,
        "mixture": mixture,
        "beside": tuple(known.pop("beside", ())),
        "draft": draft,
    }
    return ImageRequest(**(known | used | {"operation": Operation(known["operation"])}))


def _known(record: type[JobRequest], body: Mapping[str, Any]) -> dict[str, Any]:
    """JSON knows lists only; what a caller is told rests as tuples."""
    names = _names(record)
    told = {name: tuple(body.get(name, ())) for name in ("notes", "ignored")}
    return {name: value for name, value in body.items() if name in names} | told


@cache
def _names(record: type[JobRequest]) -> frozenset[str]:
    return frozenset(field.name for field in fields(record))


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
    Task.caption: lambda body: CaptionRequest(**_known(CaptionRequest, body)),
    Task.cut_out: lambda body: CutOutRequest(**_known(CutOutRequest, body)),
    Task.upscale: lambda body: UpscaleRequest(**_known(UpscaleRequest, body)),
}
