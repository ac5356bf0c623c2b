"""The vendor's page that puts a picture into words, ``caption``: by a model of the operator's, refused by name without one."""

from __future__ import annotations

from typing import Any

from fastapi import Response

from safelight.errors import Invalid
from safelight.records import CAPTION_LENGTHS, Bitmap, CaptionRequest
from safelight.service.tools import captioner
from safelight.wire import openapi
from safelight.wire.modelslab import describe as words
from safelight.wire.modelslab import families, images
from safelight.wire.modelslab.call import Call, Row
from safelight.wire.modelslab.held import of_one_picture
from safelight.wire.modelslab.read import echoed_address
from safelight.wire.openapi import Shape

MOST_WORD = 100  # characters


async def caption(call: Call) -> Response:
    """Words are answered as they are, also where base64 is asked for."""
    form, tool = call.form, captioner(call.services.settings)
    length = form.choice("length", limit=MOST_WORD).lower() or "normal"
    if length not in CAPTION_LENGTHS:
        raise Invalid("length", f"must be one of {', '.join(CAPTION_LENGTHS)}")

    def read(picture: Bitmap, delivery: dict[str, Any]) -> CaptionRequest:
        echo = {"init_image": echoed_address(form.fields["init_image"]), "length": length, "model_id": tool.name}
        ignored = ("base64",) if delivery["base64"] else ()
        return CaptionRequest(
            pixels=picture.width * picture.height, captioner=str(tool.name), length=length, effort=tool.effort,
            extras={"echo": echo}, ignored=ignored, **{**delivery, "base64": False},
        )  # fmt: skip

    return await of_one_picture(call, "init_image", "caption", read)


_FIELDS: openapi.Schema = {
    **words.KEY,
    "init_image": {"type": "string", "minLength": 1, "description": "An http(s) address, a data URI or base64."},
    "length": {"enum": [*CAPTION_LENGTHS, None], "description": "How much is said of it; normal where it is left out."},
    **{name: images.TEXT[name] for name in ("temp", "instant_response", "webhook", "track_id")},
}
_OPERATION = openapi.Operation(
    "What a picture shows, in words, by a model of the operator's: output holds the words",
    images.GIVEN,
    images.SUCCESS,
    words.REFUSALS,
    Shape("Caption", words.fields(_FIELDS, "init_image")),
    {"key": "", "init_image": words.EXAMPLE_URL, "length": "long"},
    repeatable=True,
)

ROWS = tuple(
    Row(f"{family.name}/caption", family, caption, _OPERATION)
    for family in (families.V6_EDITING, families.SERVERS["image_editing"])
)
