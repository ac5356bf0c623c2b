"""The vendor's pages that make a picture larger: ``super_resolution`` under every family that has it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fastapi import Response

from safelight.errors import Invalid, NotOffered
from safelight.records import Bitmap, UpscaleRequest
from safelight.service.tools import BUNDLED, Tool, upscaler
from safelight.wire import openapi
from safelight.wire.modelslab import describe as words
from safelight.wire.modelslab import families, images
from safelight.wire.modelslab.call import Call, Row
from safelight.wire.modelslab.families import Family
from safelight.wire.modelslab.held import of_one_picture
from safelight.wire.modelslab.read import echoed_address, read_model
from safelight.wire.openapi import Shape

LEAST, USUAL, MOST = 2, 3, 4  # times as wide and high
NO_FACES = "face_enhance: this server has no face restorer. Leave it out, or send false."
OLD = (families.V3, families.V5, families.ENTERPRISE)  # whose pages answer with one address


async def super_resolution(call: Call) -> Response:
    form, settings = call.form, call.services.settings
    if form.yes("face_enhance", False):
        raise NotOffered(NO_FACES)
    field = form.either("init_image", "url", "image", "image_url")
    scale = form.real("scale", USUAL, LEAST, MOST)
    tool = upscaler(read_model(form), settings)

    def read(picture: Bitmap, delivery: dict[str, Any]) -> UpscaleRequest:
        width, height = round(picture.width * scale), round(picture.height * scale)
        if width * height > settings.max_upscaled_pixels:
            raise Invalid(field, f"would become {width}x{height}, more than {settings.max_upscaled_pixels:,} pixels")
        request = UpscaleRequest(width=width, height=height, upscaler=tool.name, effort=tool.effort, **delivery)
        echo = _echo(tool, scale) | {"init_image": echoed_address(form.fields[field]), "width": width, "height": height}
        return replace(request, notes=(tool.note,) if tool.note else (), extras={"echo": echo})

    return await of_one_picture(call, field, "super_resolution", read, single=call.family in OLD)


def _echo(tool: Tool, scale: float) -> dict[str, object]:
    """Numbers as the pages print them; what there is none of here is told as off."""
    shown = int(scale) if scale == int(scale) else scale
    off = {"prompt": "", "face_enhance": False, "steps": 1}
    return off | {"scale": shown, "upscale_factor": shown, "model_id": tool.name or BUNDLED}


_PICTURE = {"type": "string", "minLength": 1, "description": "An http(s) address, a data URI or base64."}
_FIELDS: openapi.Schema = {
    **words.KEY,
    "init_image": _PICTURE,
    "scale": words.real("How many times as wide and high, 2 to 4.", USUAL, LEAST, MOST),
    "model_id": words.string("An upscaler by the name that the operator gave it; without one, the bundled one."),
    "face_enhance": words.yes("Faces restored: refused here, there is no such model.", "no"),
    **{name: images.TEXT[name] for name in ("base64", "temp", "instant_response", "webhook", "track_id")},
}
_OPERATION = openapi.Operation(
    "A picture made larger, by a network",
    images.GIVEN,
    images.SUCCESS,
    words.REFUSALS,
    Shape("SuperResolution", words.fields(_FIELDS)),
    {"key": "", "init_image": words.EXAMPLE_URL, "scale": 2},
    repeatable=True,
)


def _row(family: Family, name: str = "super_resolution") -> Row:
    return Row(f"{family.name}/{name}", family, super_resolution, _OPERATION)


ROWS = (
    *map(_row, (*OLD, families.V6_EDITING, families.SERVERS["image_editing"])),
    _row(families.SERVERS["super_resolution"], "make"),
)
