"""The vendor's page that removes backgrounds, ``removebg_mask``, under every family that has it. Its parameters are rembg's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fastapi import Response

from safelight.records import Bitmap, CutOutRequest
from safelight.service.tools import BY_BORDER, finder, segmenter
from safelight.wire import openapi
from safelight.wire.forms import Form
from safelight.wire.modelslab import describe as words
from safelight.wire.modelslab import families, images
from safelight.wire.modelslab.call import Call, Row
from safelight.wire.modelslab.families import Family
from safelight.wire.modelslab.held import of_one_picture
from safelight.wire.modelslab.read import echoed_address, read_model
from safelight.wire.openapi import Shape

MOST_ERODE = 100  # pixels
MOST_WORDS = 300


async def remove_background(call: Call) -> Response:
    form, settings = call.form, call.services.settings
    field = form.either("image", "init_image")
    tool = segmenter(read_model(form), settings)
    asked = _read(form)

    def read(picture: Bitmap, delivery: dict[str, Any]) -> CutOutRequest:
        pixels = picture.width * picture.height
        request = CutOutRequest(pixels=pixels, segmenter=tool.name, effort=tool.effort, **asked, **delivery)
        echo = _echo(form, request) | {
            "image_url": echoed_address(form.fields[field]),
            "model_id": tool.name or BY_BORDER,
        }
        return replace(request, notes=(tool.note,) if tool.note else (), extras={"echo": echo})

    return await of_one_picture(call, field, "removebg_mask", read)


async def create_mask(call: Call) -> Response:
    """White where the word is found, by a model of the operator's; without a word, white in front."""
    form, settings = call.form, call.services.settings
    word = form.text("specific_object", limit=MOST_WORDS).strip()
    tool = finder(settings) if word else segmenter(read_model(form), settings)
    found, cut = (tool.name, None) if word else (None, tool.name)

    def read(picture: Bitmap, delivery: dict[str, Any]) -> CutOutRequest:
        pixels = picture.width * picture.height
        echo = {"image_path": echoed_address(form.fields["init_image"]), "seed": form.whole("seed", 0)}
        echo |= {"specific_object": word or None, "model_id": tool.name or BY_BORDER}
        notes = (tool.note,) if tool.note else ()
        return CutOutRequest(
            pixels=pixels, segmenter=cut, finder=found, words=word, effort=tool.effort, only_mask=True, notes=notes,
            extras={"echo": echo}, **delivery,
        )  # fmt: skip

    return await of_one_picture(call, "init_image", "mask_creator", read)


def _read(form: Form) -> dict[str, Any]:
    return {
        "only_mask": form.yes("only_mask", False),
        "inverse_mask": form.yes("inverse_mask", False),
        "post_process_mask": form.yes("post_process_mask", False),
        "alpha_matting": form.yes("alpha_matting", False),
        "foreground_threshold": form.whole("alpha_matting_foreground_threshold", 240, 0, 255),
        "background_threshold": form.whole("alpha_matting_background_threshold", 20, 0, 255),
        "erode_size": form.whole("alpha_matting_erode_size", 5, 0, MOST_ERODE),
    }


def _echo(form: Form, request: CutOutRequest) -> dict[str, object]:
    """As the pages print it: two of the switches as text, one as it is. There is nothing random here for a seed to change."""
    return {
        "alpha_matting": str(int(request.alpha_matting)),
        "alpha_matting_background_threshold": request.background_threshold,
        "alpha_matting_erode_size": request.erode_size,
        "alpha_matting_foreground_threshold": request.foreground_threshold,
        "inverse_mask": request.inverse_mask,
        "n_samples": 1,
        "only_mask": request.only_mask,
        "post_process_mask": str(int(request.post_process_mask)),
        "seed": form.whole("seed", 0),
    }


_FIELDS: openapi.Schema = {
    **words.KEY,
    "image": {"type": "string", "minLength": 1, "description": "An http(s) address, a data URI or base64."},
    "only_mask": words.yes("The mask alone, white in front.", "no"),
    "inverse_mask": words.yes("What is behind, instead of what is in front.", "no"),
    "post_process_mask": words.yes("Small spots taken away, edges smoothed.", "no"),
    "alpha_matting": words.yes("Soft edges, hair for example.", "no"),
    "alpha_matting_foreground_threshold": words.whole("From which a pixel is surely in front:", 240, 0, 255),
    "alpha_matting_background_threshold": words.whole("Below which it is surely behind:", 20, 0, 255),
    "alpha_matting_erode_size": words.whole("How wide the part between is, in pixels:", 5, 0, MOST_ERODE),
    "model_id": words.string("A segmentation network by the name that the operator gave it."),
    **{name: images.TEXT[name] for name in ("base64", "temp", "instant_response", "webhook", "track_id")},
}
_OPERATION = openapi.Operation(
    "A picture without its background, or a mask of what is in front",
    images.GIVEN,
    images.SUCCESS,
    words.REFUSALS,
    Shape("RemoveBackground", words.fields(_FIELDS, "image")),
    {"key": "", "image": words.EXAMPLE_URL},
    repeatable=True,
)


_MASK_FIELDS: openapi.Schema = {
    **words.KEY,
    "init_image": _FIELDS["image"],
    "specific_object": words.string("What is to be white; without it, what stands in front."),
    **{name: images.TEXT[name] for name in ("base64", "temp", "instant_response", "webhook", "track_id")},
}
_MASK = openapi.Operation(
    "The mask of what a word names, found by a model of the operator's",
    images.GIVEN,
    images.SUCCESS,
    words.REFUSALS,
    Shape("CreateMask", words.fields(_MASK_FIELDS, "init_image")),
    {"key": "", "init_image": words.EXAMPLE_URL, "specific_object": "the ball"},
    repeatable=True,
)


def _row(family: Family) -> Row:
    return Row(f"{family.name}/removebg_mask", family, remove_background, _OPERATION)


ROWS = (
    *map(_row, (families.V5, families.V6_EDITING, families.SERVERS["image_editing"])),
    *(
        Row(f"{family.name}/mask_creator", family, create_mask, _MASK)
        for family in (families.V6_EDITING, families.SERVERS["image_editing"])
    ),
)
