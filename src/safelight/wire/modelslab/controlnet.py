"""The vendor's ControlNet pages: pictures that follow the lines or tones of another, by ControlNets that are here.

With ``control_image`` that one is followed and ``init_image`` is what the picture starts from; without, the init image is
followed and the picture drawn from noise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from fastapi import Response

from safelight.errors import Invalid
from safelight.records import AssetKind, ControlUse, ImageRequest, Operation
from safelight.service.controls import INPAINT, MOST, PLAIN, hint_of, known_controlnet
from safelight.settings import Settings
from safelight.wire import openapi
from safelight.wire.forms import Form
from safelight.wire.modelslab import absent, families, images
from safelight.wire.modelslab import describe as words
from safelight.wire.modelslab.call import Call, Row
from safelight.wire.modelslab.families import Family
from safelight.wire.openapi import Shape

MODEL, TYPE, SCALE = "controlnet_model", "controlnet_type", "controlnet_conditioning_scale"
Known = Mapping[str, int | None]  # names of ControlNets, each with the job that installed it, where one did
NO_GUESSING = "guess_mode is not here: the prompt counts as it always does."
FROM_NOISE = (
    "strength has no effect without control_image: init_image is what the picture follows, and it is drawn from noise."
)


async def controlnet(call: Call) -> Response:
    form, settings = call.form, call.services.settings
    known = await call.services.catalogue.controlnets(call.account)
    if not known:
        raise absent.CONTROL.refusal()
    apart, masked = form.has("control_image"), form.has("mask_image")
    starts = masked or (apart and form.has("init_image"))
    operation = Operation.inpaint if masked else Operation.img2img if starts else Operation.text2img
    followed = AssetKind.control_image if apart or not starts else AssetKind.init_image
    uses, notes = _read_uses(form, settings, known, followed, operation)
    notes += [FROM_NOISE] if not starts and form.has("strength") else []

    async def change(request: ImageRequest, pictures: images.Pictures) -> tuple[ImageRequest, images.Pictures]:
        sized = images.sized(call, request, pictures, AssetKind.init_image if starts else followed)
        echo = {MODEL: ",".join(use.name for use in uses), TYPE: form.text(TYPE, limit=1_000)}
        return images.echoing(replace(sized, controls=uses, notes=(*sized.notes, *notes)), **echo), pictures

    return await images.generate(
        call,
        operation,
        init="init_image" if starts else "",
        mask="mask_image" if masked else "",
        control="control_image" if apart else "" if starts else "init_image",
        change=change,
    )


def _read_uses(
    form: Form, settings: Settings, known: Known, followed: AssetKind, operation: Operation
) -> tuple[tuple[ControlUse, ...], list[str]]:
    names, types = _words(form, MODEL), _words(form, TYPE)
    count = max(len(names), len(types))
    if not 0 < count <= MOST:
        raise Invalid(MODEL, f"must name one to {MOST} ControlNets, separated by commas")
    names, types = names + types[len(names) :], types + names[len(types) :]
    uses = tuple(_use(form, settings, known, followed, i, (names[i], types[i]), count) for i in range(count))
    if any(use.hint == INPAINT for use in uses) and operation is not Operation.inpaint:
        raise Invalid("mask_image", "is required with an inpainting ControlNet")
    notes = [
        f"{MODEL} {name} is not on this server; {use.name} is used."
        for name, use in zip(names, uses, strict=True)
        if name != use.name
    ]
    return uses, notes + ([NO_GUESSING] if form.yes("guess_mode", False) else [])


def _use(
    form: Form, settings: Settings, known: Known, followed: AssetKind, i: int, asked: tuple[str, str], count: int
) -> ControlUse:
    """``asked`` are a name and a kind; where there is none of that name, the kind may be one."""
    name = known_controlnet(MODEL, asked, known)
    drawn = form.yes("auto_hint", True)
    instead = "send the hint itself as control_image, with auto_hint no"
    hint = hint_of(TYPE, asked[1], instead, settings) if drawn else PLAIN
    return ControlUse(
        name,
        followed.label,
        hint,
        _number(form, SCALE, i, count, 1.0, 5.0),
        _number(form, "control_guidance_start", i, count, 0.0, 1.0),
        _number(form, "control_guidance_end", i, count, 1.0, 1.0),
        known[name],
    )


def _number(form: Form, name: str, i: int, count: int, usual: float, most: float) -> float:
    """One for all of them, or one each."""
    parts = str(form.scalar(name, limit=1_000) or "").split(",")
    if len(parts) not in (1, count):
        raise Invalid(name, f"must be one number, or as many as {MODEL} has names")
    return Form({name: parts[i if len(parts) > 1 else 0]}).real(name, usual, 0, most)


def _words(form: Form, name: str) -> list[str]:
    return [word for part in form.text(name, limit=1_000).split(",") if (word := part.strip())]


_FIELDS: openapi.Schema = {
    **images.MASKED,
    MODEL: words.string("ControlNets by name: the operator's, and those that were installed, separated by commas."),
    TYPE: words.string("What is made of the picture for each: canny, softedge, scribble, tile, blur, gray, inpaint."),
    "auto_hint": words.yes("Make the hint of the picture; no takes it as one already.", "yes"),
    "control_image": words.string("The picture to follow, where it is not init_image."),
    SCALE: {"type": ["string", "number", "null"], "description": "How strongly each counts, 0 to 5; usually 1."},
    "control_guidance_start": {
        "type": ["string", "number", "null"],
        "description": "From which part of the way, 0 to 1.",
    },
    "control_guidance_end": {
        "type": ["string", "number", "null"],
        "description": "Up to which part of the way, 0 to 1.",
    },
}
_EXAMPLE = {"key": "", "prompt": "a red cat", TYPE: "canny", MODEL: "canny", "init_image": words.EXAMPLE_URL}
_OPERATION = openapi.Operation(
    "A picture that follows another one's lines or tones",
    images.GIVEN,
    images.SUCCESS,
    words.REFUSALS,
    Shape("ControlNet", words.fields(_FIELDS, "prompt")),
    _EXAMPLE,
    repeatable=True,
)


def _row(family: Family) -> Row:
    return Row(f"{family.name}/controlnet", family, controlnet, _OPERATION)


ROWS = tuple(map(_row, (families.V5, families.V6_IMAGES, families.ENTERPRISE, families.SERVERS["images"])))
