"""The vendor's editing pages as far as a checkpoint alone can do them: outpainting, removing what a mask names, interiors.

Each is a generation with other defaults; where the vendor has a model of its own for it, a note says what is done instead.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from fastapi import Response

from safelight.records import AssetKind, ImageRequest, Operation
from safelight.service.tools import finder
from safelight.service.widen import widen
from safelight.wire import openapi
from safelight.wire.forms import Form
from safelight.wire.modelslab import describe as words
from safelight.wire.modelslab import families, images
from safelight.wire.modelslab.call import Act, Call, Row, filled
from safelight.wire.modelslab.families import Family
from safelight.wire.modelslab.read import KEPT, read_model
from safelight.wire.openapi import Shape

UNIT = 8  # pixels; a model's latents stand for squares of so many
WIDE, HIGH, MOST_OVERLAP = 1280, 720, 42  # pixels, as documented
MOST_WORDS = 300
_ASKED = re.compile(r"^\s*(?:remove|erase|delete)\s+(.+?)(?:\s+from\s+(?:the|this|my)\s+\w+)?[\s.]*$", re.IGNORECASE)
CLEAN = "empty background, clean surface, nothing there"
FILLED = "What was removed was filled from around it, by no network; strength above 0 paints there."
KEPT_STRUCTURE = (
    "There is no interior model here: the picture is made anew by img2img, and a lower strength keeps more of it."
)
INTERIORS = {  # the page's word, and what its picture is to be where the caller says nothing
    "make": "a furnished room, interior design photograph",
    "room_decorator": "a decorated room, interior design photograph",
    "floor_planning": "a furnished floor plan seen from above",
    "scenario_changer": "the same place",
    "scenario": "the same place",  # the vendor's own SDK calls it so
    "sketch_rendering": "a photograph of a finished building",
    "exterior_restorer": "a restored house, architectural photograph",
}


async def outpaint(call: Call) -> Response:
    """The picture keeps its pixels but for the overlap, along which old and new are joined."""
    settings, notes = call.services.settings, list[str]()
    width = _side(call.form, "width", WIDE, settings.max_side, notes)
    height = _side(call.form, "height", HIGH, settings.max_side, notes)
    overlap = _most(call.form.whole("overlap_width", 10, 0), "overlap_width", MOST_OVERLAP, notes)

    async def change(request: ImageRequest, pictures: images.Pictures) -> tuple[ImageRequest, images.Pictures]:
        canvas, mask = await widen(pictures[AssetKind.init_image], width, height, overlap)
        asked = replace(request, width=width, height=height, strength=1.0, notes=(*request.notes, *notes))
        asked = images.echoing(asked, overlap_width=overlap)
        return asked, {AssetKind.init_image: canvas, AssetKind.mask_image: mask}

    given = filled(call, {"prompt": "high quality", "temp": "yes"}, width=width, height=height)
    return await images.generate(given, Operation.inpaint, init="image", change=change)


async def remove_object(call: Call) -> Response:
    """What a mask covers, or what a word names, found by a model of the operator's."""
    if call.form.has("object_name") and not call.form.has("mask_image"):
        return await remove_named(call)
    return await _removed(call, mask="mask_image")


async def remove_named(call: Call) -> Response:
    tool = finder(call.services.settings)
    word = call.form.required("object_name", limit=MOST_WORDS).strip()
    named = _ASKED.sub(r"\1", word)  # a page prints a whole sentence

    def named_so(request: ImageRequest) -> ImageRequest:
        return images.echoing(replace(request, finder=tool.name, words=named), object_name=word)

    return await _removed(call, also=named_so)


async def _removed(
    call: Call, *, mask: str = "", also: Callable[[ImageRequest], ImageRequest] = lambda request: request
) -> Response:
    """A checkpoint that would paint things into the hole is not asked to, unless the caller gives a strength."""
    checkpoint = await call.services.catalogue.checkpoint(read_model(call.form), call.account)
    strength = 1 if checkpoint.wants.repaints else 0
    given = filled(call, {"prompt": CLEAN, "strength": strength, "enhance_prompt": "no"})

    async def change(request: ImageRequest, pictures: images.Pictures) -> tuple[ImageRequest, images.Pictures]:
        sized = images.sized(call, request, pictures)
        notes = tuple(FILLED if note == KEPT else note for note in request.notes)
        return also(replace(sized, cleared=True, notes=notes)), pictures

    return await images.generate(given, Operation.inpaint, init="init_image", mask=mask, change=change)


async def interior(call: Call) -> Response:
    """``strength`` beyond 1, which the vendor's own document gives as a default, is 1."""
    page = call.request.url.path.rpartition("/")[2]
    strength = min(call.form.real("strength", 0.55, 0, 100), 1.0)
    given = filled(call, {"prompt": INTERIORS.get(page, INTERIORS["make"])})
    prompt = ", ".join(
        word for name in ("prompt", "scenario", "specific_object") if (word := given.form.text(name, limit=10_000))
    )
    wanted = given.form.text("specific_object", limit=10_000)
    given = filled(given, {}, prompt=prompt, strength=strength)

    async def change(request: ImageRequest, pictures: images.Pictures) -> tuple[ImageRequest, images.Pictures]:
        sized = images.sized(call, request, pictures)
        sized = images.echoing(sized, room_image=sized.extras.get("init_image", ""), specific_object=wanted or None)
        return replace(sized, notes=(*sized.notes, KEPT_STRUCTURE)), pictures

    return await images.generate(given, Operation.img2img, init="init_image", change=change)


def _side(form: Form, name: str, default: int, most: int, notes: list[str]) -> int:
    asked = form.whole(name, default, 64)
    return _most(asked, name, min(asked, most) // UNIT * UNIT, notes)


def _most(asked: int, name: str, most: int, notes: list[str]) -> int:
    """The vendor's own SDK asks for more than its pages allow."""
    if asked > most:
        notes.append(f"{name} {asked} became {most}.")
    return min(asked, most)


def _operation(summary: str, name: str, properties: openapi.Schema, *required: str) -> openapi.Operation:
    example = {"key": "", "prompt": "high quality"} | dict.fromkeys(required, words.EXAMPLE_URL)
    takes = Shape(name, words.fields({**images.TEXT, **properties}, *required))
    return openapi.Operation(summary, images.GIVEN, images.SUCCESS, words.REFUSALS, takes, example, repeatable=True)


_PICTURE = {"type": "string", "minLength": 1, "description": "An http(s) address, a data URI or base64."}
_OUTPAINT = _operation(
    "A picture painted on beyond its edges",
    "Outpaint",
    {"image": _PICTURE, "overlap_width": words.whole("Pixels that are painted over inside:", 10, 0, MOST_OVERLAP)},
    "image",
)
_REMOVE = _operation(
    "What the mask covers painted away",
    "RemoveObject",
    {"init_image": _PICTURE, "mask_image": _PICTURE},
    "init_image",
    "mask_image",
)
_REMOVE_NAMED = _operation(
    "What a word names painted away, found by a model of the operator's",
    "RemoveNamed",
    {"init_image": _PICTURE, "object_name": words.string("What is to be removed.")},
    "init_image",
    "object_name",
)
_INTERIOR = _operation("A room made anew from its picture", "Interior", {"init_image": _PICTURE}, "init_image")


def _interiors(family: Family) -> tuple[Row, ...]:
    return tuple(_row(family, name, interior, _INTERIOR) for name in INTERIORS)


def _row(family: Family, name: str, act: Act, operation: openapi.Operation) -> Row:
    return Row(f"{family.name}/{name}", family, act, operation)


ROWS = (
    _row(families.V6_EDITING, "outpaint", outpaint, _OUTPAINT),
    _row(families.V6_EDITING, "object_removal", remove_object, _REMOVE),
    _row(families.SERVERS["image_editing"], "outpaint", outpaint, _OUTPAINT),
    _row(families.SERVERS["image_editing"], "object_removal", remove_object, _REMOVE),
    _row(families.V3, "interior", interior, _INTERIOR),
    _row(families.V5, "interior", interior, _INTERIOR),
    _row(families.FAMILIES["v6/interior"], "object_removal", remove_named, _REMOVE_NAMED),
    _row(families.SERVERS["interior"], "object_removal", remove_named, _REMOVE_NAMED),
    *_interiors(families.FAMILIES["v6/interior"]),
    *_interiors(families.SERVERS["interior"]),
)
