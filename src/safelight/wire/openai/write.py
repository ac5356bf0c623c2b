"""Our records and errors in OpenAI's JSON: pictures, events of a stream, models, and the error object with its types and codes."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import Response

from safelight.errors import (
    EngineFailed,
    Forbidden,
    Invalid,
    NoCredit,
    NotFound,
    NotOffered,
    Refused,
    SafelightError,
    Unauthorized,
    Unavailable,
)
from safelight.records import ImageRequest
from safelight.settings import Settings
from safelight.wire.forms import TooLarge, TooSlow
from safelight.wire.http import answer, refusal_of
from safelight.wire.openai.read import Kind, UnknownParameter, Wanted

Json = dict[str, object]

OWNER = "safelight"
NO_TOKENS: Json = {
    "input_tokens": 0,
    "input_tokens_details": {"image_tokens": 0, "text_tokens": 0},
    "output_tokens": 0,
    "output_tokens_details": {"image_tokens": 0, "text_tokens": 0},
    "total_tokens": 0,
}  # nothing is counted in tokens here; typed clients want the fields


class Blocked(SafelightError):
    """Your request was rejected by the safety system."""


class NoSuchModel(NotFound):
    """The model does not exist"""


def write_images(request: ImageRequest, wanted: Wanted, created: int, data: Sequence[Json]) -> Json:
    return {"created": created, "data": list(data), "usage": NO_TOKENS} | _look(request, wanted)


def write_partial(kind: Kind, request: ImageRequest, wanted: Wanted, created: int, index: int, b64: str) -> Json:
    named = {"type": f"{_event(kind)}.partial_image", "b64_json": b64, "partial_image_index": index}
    return {**named, "created_at": created, **_look(request, wanted)}


def write_completed(kind: Kind, request: ImageRequest, wanted: Wanted, created: int, b64: str) -> Json:
    named = {"type": f"{_event(kind)}.completed", "b64_json": b64, "usage": NO_TOKENS}
    return {**named, "created_at": created, **_look(request, wanted)}


def write_model(name: str) -> Json:
    return {"id": name, "object": "model", "created": 0, "owned_by": OWNER}


def write_error(error: Exception, _path: str, _settings: Settings) -> Response:
    refusal = refusal_of(error)
    status = 400 if isinstance(error, Blocked) else refusal.status
    # The official clients send again what failed with 500, which for a picture that could not be made is no use.
    hint = {"X-Should-Retry": "false"} if isinstance(error, EngineFailed) else {}
    return answer(error_body(error), status, refusal.headers | hint)


def error_body(error: Exception) -> Json:
    kind, code = next((told for sort, told in SORTS.items() if isinstance(error, sort)), MISTAKE)
    if isinstance(error, Invalid) and error.rule == "is required":
        code = "missing_required_parameter"
    param = error.field if isinstance(error, Invalid) else "model" if code == "model_not_found" else None
    return {"error": {"message": refusal_of(error).sentence, "type": kind, "param": param or None, "code": code}}


def _look(request: ImageRequest, wanted: Wanted) -> Json:
    """What was done, in the words of the request."""
    return {
        "background": "opaque",
        "output_format": wanted.format,
        "quality": {"auto": "medium", "standard": "medium", "hd": "high"}.get(wanted.quality, wanted.quality),
        "size": f"{request.width}x{request.height}",
    }


def _event(kind: Kind) -> str:
    return "image_generation" if kind == "generations" else "image_edit"


_WRONG = "invalid_request_error"
MISTAKE = ("server_error", "internal_error")
SORTS: dict[type[Exception], tuple[str, str | None]] = {  # type and code; the first that fits
    TooLarge: (_WRONG, "request_too_large"),
    TooSlow: (_WRONG, "request_timeout"),
    UnknownParameter: (_WRONG, "unknown_parameter"),
    Invalid: (_WRONG, "invalid_value"),
    Blocked: ("image_generation_user_error", "moderation_blocked"),
    Unauthorized: (_WRONG, "invalid_api_key"),
    Forbidden: (_WRONG, "insufficient_permissions"),
    NoCredit: ("insufficient_quota", "insufficient_quota"),
    NoSuchModel: (_WRONG, "model_not_found"),
    NotFound: (_WRONG, None),
    NotOffered: (_WRONG, "not_supported"),
    Refused: ("rate_limit_error", "rate_limit_exceeded"),
    EngineFailed: ("image_generation_server_error", "image_generation_failed"),
    Unavailable: ("server_error", "server_unavailable"),
}
