"""The words in which the vendor's endpoints are described as OpenAPI; each file of endpoints describes its own. Decides nothing."""

from __future__ import annotations

from safelight.wire.openapi import Operation, Refusals, Schema, Shape

EXAMPLE_URL = "http://127.0.0.1:8000/generations/05c3260d-6a2e-4aa5-82f0-e952f2a5fa10-0.png"


def string(text: str, example: object = None) -> Schema:
    return {"type": ["string", "null"], "description": text} | ({} if example is None else {"example": example})


def whole(text: str, default: int | None, low: int, high: int | None) -> Schema:
    limits = f"{low} or more" if high is None else f"{low} to {high}"
    return {
        "type": ["integer", "string", "null"],
        "minimum": low,
        "description": f"{text} {limits}, as a number or in quotes.",
    } | ({} if default is None else {"default": default})


def real(text: str, default: float, low: float, high: float) -> Schema:
    kinds = ["number", "string", "null"]
    return {"type": kinds, "default": default, "minimum": low, "maximum": high, "description": text}


def yes(text: str, default: str) -> Schema:
    said = f"{text} yes, no, true, false, 1 or 0."
    return {"type": ["string", "boolean", "integer", "null"], "default": default, "description": said}


def fields(properties: Schema, *required: str) -> Schema:
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": True}


KEY: Schema = {"key": string("Your API key. It may also come as header key, as Authorization or in the query.")}
ERROR: Schema = fields(
    {"status": {"const": "error"}, "message": {"type": "string"}, "messege": {"type": "string"}},
    "status",
    "message",
    "messege",
)
DONE: Schema = {"status": {"const": "success"}}


def error(text: str, said: str) -> tuple[str, object]:
    return text, {"status": "error", "message": said, "messege": said}


REFUSALS = Refusals(
    Shape("Error", ERROR),
    {
        400: error("A field breaks a rule, which the message names", "prompt is required"),
        401: error("No key, or one that is not valid", "Invalid API key"),
        402: error("The wallet does not hold the price", "Insufficient credits. Please add more credits to continue."),
        404: error("Nothing of that name is yours", "Not found"),
        408: error("The body did not arrive in time", "body must arrive within 60 seconds"),
        413: error("The body is too large", "body must have at most 25,165,824 bytes"),
        429: error("Too much is waiting; Retry-After says when to try again", "Rate limit exceeded."),
        500: error("Our mistake", "Internal server error. Please try again."),
        503: error("A part of the server is away", "Service temporarily unavailable. Please try again later."),
    },
)
REQUEST_ID: Schema = {
    "type": ["integer", "string"],
    "minimum": 1,
    "description": "The id of a generation or upload, as a number or in quotes.",
}


KEY_ONLY = Shape("Key", fields(KEY))


def other(summary: str, gives: Shape, answer: object, takes: Shape = KEY_ONLY, **example: object) -> Operation:
    """An endpoint that makes nothing."""
    return Operation(summary, gives, answer, REFUSALS, takes, {"key": "", **example})
