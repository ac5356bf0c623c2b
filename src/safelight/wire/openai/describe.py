"""OpenAI's endpoints as OpenAPI: what each takes and answers here."""

from __future__ import annotations

from safelight.wire import keeping
from safelight.wire.openapi import Operation, Refusals, Schema, Shape

_PNG = "iVBORw0KGgo="


def _text(description: str = "", **more: object) -> Schema:
    return {"type": "string", **({"description": description} if description else {}), **more}


_NUMBER: Schema = {"type": ["number", "string"]}
_COMMON: Schema = {
    "model": _text("A checkpoint of this server; any other name means the default one."),
    "n": {"type": ["integer", "string"], "description": "1 to 10."},
    "size": _text("auto, or WIDTHxHEIGHT with sides divisible by 8."),
    "response_format": {"enum": ["url", "b64_json"]},
    "user": _text("Kept with the job, and erased with it."),
    "safety_identifier": _text(),
    "negative_prompt": _text("Beyond OpenAI's own, as are the next seven."),
    "seed": _NUMBER,
    "steps": _NUMBER,
    "guidance_scale": _NUMBER,
    "strength": _NUMBER,
    "sampler": _text(),
    **keeping.DESCRIBED,
}
_RENDERED: Schema = {
    "prompt": _text("At most 32,000 characters."),
    "quality": {"enum": ["auto", "low", "medium", "high", "xhigh", "max", "standard", "hd"]},
    "background": {"enum": ["auto", "opaque"]},
    "moderation": {"enum": ["auto", "low"], "description": "low: the safety check is left out."},
    "output_format": {"enum": ["png", "jpeg", "webp"]},
    "output_compression": {"type": ["integer", "string"], "description": "0 to 100, for jpeg and webp."},
    "stream": {"type": ["boolean", "string"], "description": "Answered with Server-Sent Events."},
    "partial_images": {"type": ["integer", "string"], "description": "0 to 3, with stream."},
}
_PICTURE: Schema = {
    "description": "A file, an address, a data URI, or a list of them; the first is the one that counts."
}
_IMAGES = Shape(
    "OpenAIImages",
    {
        "type": "object",
        "properties": {
            "created": {"type": "integer"},
            "data": {
                "type": "array",
                "items": {"type": "object", "properties": {"url": _text(), "b64_json": _text()}},
            },
            "size": _text(),
            "quality": _text(),
            "output_format": _text(),
            "background": _text(),
            "usage": {"type": "object", "description": "Zeros: nothing is counted in tokens here."},
        },
        "required": ["created", "data"],
    },
)
_MODEL = Shape(
    "OpenAIModel",
    {
        "type": "object",
        "properties": {
            "id": _text(),
            "object": {"const": "model"},
            "created": {"type": "integer"},
            "owned_by": _text(),
        },
        "required": ["id", "object", "created", "owned_by"],
    },
)
_MODELS = Shape(
    "OpenAIModels",
    {
        "type": "object",
        "properties": {"object": {"const": "list"}, "data": {"type": "array", "items": _MODEL.ref}},
        "required": ["object", "data"],
    },
)
_ERROR = Shape(
    "OpenAIError",
    {
        "type": "object",
        "properties": {
            "error": {
                "type": "object",
                "properties": {
                    "message": _text(),
                    "type": _text(),
                    "param": {"type": ["string", "null"]},
                    "code": {"type": ["string", "null"]},
                },
                "required": ["message", "type"],
            }
        },
        "required": ["error"],
    },
)
_REFUSALS = Refusals(
    _ERROR,
    {
        status: (text, {"error": {"message": text, "type": kind, "param": param, "code": code}})
        for status, text, kind, param, code in (
            (400, "Unknown parameter: 'colour'.", "invalid_request_error", "colour", "unknown_parameter"),
            (401, "Invalid API key", "invalid_request_error", None, "invalid_api_key"),
            (404, "The model 'x' does not exist", "invalid_request_error", "model", "model_not_found"),
            (408, "body must arrive within 60 seconds", "invalid_request_error", "body", "request_timeout"),
            (413, "body must have at most 25,165,824 bytes", "invalid_request_error", "body", "request_too_large"),
            (429, "Rate limit exceeded.", "rate_limit_error", None, "rate_limit_exceeded"),
            (500, "The picture could not be made.", "image_generation_server_error", None, "image_generation_failed"),
            (503, "Service temporarily unavailable.", "server_error", None, "server_unavailable"),
        )
    },
)
_MADE: Schema = {
    "created": 1795608000,
    "data": [{"url": "http://127.0.0.1:8000/generations/05c3260d-6a2e-4aa5-82f0-e952f2a5fa10-0.png"}],
    "size": "512x512",
    "quality": "medium",
    "output_format": "png",
    "background": "opaque",
    "usage": {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0},
}
_EXAMPLE: Schema = {"id": "bundled", "object": "model", "created": 0, "owned_by": "safelight"}


def _making(summary: str, name: str, fields: Schema, required: list[str], example: Schema) -> Operation:
    takes = Shape(name, {"type": "object", "properties": fields, "required": required})
    return Operation(summary, _IMAGES, _MADE, _REFUSALS, takes, example, forms=False, repeatable=True, files=True)


OPERATIONS = {
    "/v1/images/generations": _making(
        "Pictures from a prompt",
        "OpenAIGeneration",
        {**_COMMON, **_RENDERED, "style": {"enum": ["vivid", "natural"], "description": "Without effect."}},
        ["prompt"],
        {"prompt": "a red apple", "size": "512x512"},
    ),
    "/v1/images/edits": _making(
        "A picture changed by a prompt, or painted anew where a mask is transparent",
        "OpenAIEdit",
        {**_COMMON, **_RENDERED, "image": _PICTURE, "mask": _PICTURE, "input_fidelity": {"enum": ["high", "low"]}},
        ["prompt", "image"],
        {"prompt": "a green apple", "image": f"data:image/png;base64,{_PNG}"},
    ),
    "/v1/images/variations": _making(
        "Pictures like a picture",
        "OpenAIVariation",
        {**_COMMON, "image": _PICTURE},
        ["image"],
        {"image": f"data:image/png;base64,{_PNG}"},
    ),
    "/v1/models": Operation(
        "The checkpoints of this server", _MODELS, {"object": "list", "data": [_EXAMPLE]}, _REFUSALS
    ),
    "/v1/models/{id}": Operation("One checkpoint", _MODEL, _EXAMPLE, _REFUSALS),
}
