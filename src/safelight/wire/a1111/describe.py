"""AUTOMATIC1111's endpoints as OpenAPI, as far as they have an effect here."""

from __future__ import annotations

from safelight.wire import keeping
from safelight.wire.openapi import Operation, Refusals, Schema, Shape


def _text(description: str = "") -> Schema:
    return {"type": "string", **({"description": description} if description else {})}


_NUMBER: Schema = {"type": ["number", "string", "null"]}
_ERROR = Shape(
    "A1111Error",
    {
        "type": "object",
        "properties": {"error": _text(), "detail": _text(), "body": _text(), "errors": _text()},
        "required": ["error", "detail"],
    },
)
_REFUSALS = Refusals(
    _ERROR,
    {
        status: (text, {"error": kind, "detail": text, "body": "", "errors": text})
        for status, kind, text in (
            (401, "Unauthorized", "Invalid API key"),
            (404, "NotFound", "Not found"),
            (408, "TooSlow", "body must arrive within 60 seconds"),
            (413, "TooLarge", "body must have at most 25,165,824 bytes"),
            (422, "Invalid", "steps must be between 1 and 10000"),
            (429, "OverQuota", "Rate limit exceeded. Too many of your requests are waiting."),
            (500, "EngineFailed", "The picture could not be made."),
            (503, "Unavailable", "Service temporarily unavailable. Please try again later."),
        )
    },
)
_DRAWN: Schema = {
    "prompt": _text("Words, and <lora:name:0.8>."),
    "negative_prompt": _text(),
    "width": _NUMBER,
    "height": _NUMBER,
    "steps": _NUMBER,
    "cfg_scale": _NUMBER,
    "seed": _NUMBER,
    "batch_size": _NUMBER,
    "n_iter": _NUMBER,
    "sampler_name": _text(),
    "scheduler": _text(),
    "override_settings": {"type": "object"},
    **keeping.DESCRIBED,
}
_BEGUN: Schema = {
    **_DRAWN,
    "init_images": {"type": "array", "items": _text()},
    "mask": _text("White is painted anew."),
    "denoising_strength": _NUMBER,
    "resize_mode": _NUMBER,
    "mask_blur": _NUMBER,
    "inpainting_fill": _NUMBER,
    "inpainting_mask_invert": _NUMBER,
}
_IMAGES = Shape(
    "A1111Images",
    {
        "type": "object",
        "properties": {
            "images": {"type": "array", "items": _text()},
            "parameters": {"type": "object"},
            "info": _text("JSON."),
        },
        "required": ["images", "parameters", "info"],
    },
)
_ANYTHING = Shape("A1111Answer", {"description": "As the web UI answers."})
_TAKES = {
    "txt2img": (_IMAGES, Shape("A1111Txt2Img", {"type": "object", "properties": _DRAWN}), {"prompt": "a red apple"}),
    "img2img": (
        _IMAGES,
        Shape("A1111Img2Img", {"type": "object", "properties": _BEGUN}),
        {"prompt": "a red apple", "init_images": ["iVBORw0KGgo="]},
    ),
}
_IMAGES_EXAMPLE: Schema = {"images": ["iVBORw0KGgo="], "parameters": {}, "info": "{}"}


def operation(method: str, path: str) -> Operation:
    gives, takes, example = _TAKES.get(path, (_ANYTHING, None, None)) if method == "POST" else (_ANYTHING, None, None)
    answer: object = _IMAGES_EXAMPLE if gives is _IMAGES else {}
    return Operation(f"{path}, as the web UI has it", gives, answer, _REFUSALS, takes, example, forms=False)
