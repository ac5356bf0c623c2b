"""Our records and errors in OpenAI's JSON: pictures, events of a stream, models, and the error object with its types and codes."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import Response

from safelight.errors import EngineFailed, Invalid, NotFound, Refused, SafelightError, Unauthorized, Unavailable
from safelight.records import ImageRequest
from safelight.settings import Settings
from safelight.wire.forms import TooLarge, TooSlow
from safelight.wire.http import answer
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
    headers = {"Retry-After": str(error.retry_after)} if isinstance(error, Refused) else {}
    if isinstance(error, EngineFailed):
        headers["X-Should-Retry"] = "false"  # the official clients send again what failed with 500
    return answer(error_body(error), _sort(error)[0], headers)


def error_body(error: Exception) -> Json:
    _, kind, code = _sort(error)
    if isinstance(error, Invalid) and error.rule == "is required":
        code = "missing_required_parameter"
    param = error.field if isinstance(error, Invalid) else "model" if code == "model_not_found" else None
    said = error.message if isinstance(error, SafelightError) else "Internal server error. Please try again."
    return {"error": {"message": said, "type": kind, "param": param or None, "code": code}}


def _sort(error: Exception) -> tuple[int, str, str | None]:
    """Status, type and code, by the first line that fits."""
    return next((told for kind, told in SORTS.items() if isinstance(error, kind)), MISTAKE)


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
SORTS: dict[type[Exception], tuple[int, str, str | None]] = {
    TooLarge: (413, _WRONG, "request_too_large"),
    TooSlow: (408, _WRONG, "request_timeout"),
    UnknownParameter: (400, _WRONG, "unknown_parameter"),
    Invalid: (400, _WRONG, "invalid_value"),
    Blocked: (400, "image_generation_user_error", "moderation_blocked"),
    Unauthorized: (401, _WRONG, "invalid_api_key"),
    NoSuchModel: (404, _WRONG, "model_not_found"),
    NotFound: (404, _WRONG, None),
    Refused: (429, "rate_limit_error", "rate_limit_exceeded"),
    EngineFailed: (500, "image_generation_server_error", "image_generation_failed"),
    Unavailable: (503, "server_error", "server_unavailable"),
}
MISTAKE = (500, "server_error", "internal_error")
