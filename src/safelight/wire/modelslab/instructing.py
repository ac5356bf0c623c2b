"""The vendor's pages that need a checkpoint made for them: ``pix2pix`` edits by instruction, ``depth2img`` keeps a picture's depth."""

from __future__ import annotations

from fastapi import Response

from safelight.errors import NotOffered
from safelight.records import Operation
from safelight.wire import openapi
from safelight.wire.modelslab import describe as words
from safelight.wire.modelslab import families, images
from safelight.wire.modelslab.call import Act, Call, Row, filled
from safelight.wire.modelslab.read import read_model
from safelight.wire.openapi import Shape

KINDS = {Operation.pix2pix: "InstructPix2Pix", Operation.depth2img: "Stable Diffusion 2 Depth"}


async def pix2pix(call: Call) -> Response:
    return await _by_its_own(call, Operation.pix2pix)


async def depth2img(call: Call) -> Response:
    return await _by_its_own(call, Operation.depth2img)


async def _by_its_own(call: Call, operation: Operation) -> Response:
    """Such a page names no checkpoint: there is one of the kind, or there is none."""
    name = await call.services.catalogue.suited(operation, read_model(call.form))
    if name is None:
        raise NotOffered(
            f"This server has no checkpoint for {operation.value} ({KINDS[operation]})."
            " Its operator can add one: SAFELIGHT_MODELS, or `safelight models add`."
        )
    return await images.generate(filled(call, {}, model_id=name), operation, init="init_image", single=True)


_FIELDS: openapi.Schema = {name: shape for name, shape in images.PICTURE.items() if name != "strength"}
_HOLD: openapi.Schema = {"image_guidance_scale": words.real("How closely the picture is kept to, from 1.", 1.5, 1, 20)}
_STRENGTH: openapi.Schema = {"strength": images.PICTURE["strength"]}


def _operation(summary: str, name: str, properties: openapi.Schema) -> openapi.Operation:
    takes = Shape(name, words.fields({**_FIELDS, **properties}, "prompt", "init_image"))
    example = {"key": "", "prompt": "give him glasses", "init_image": words.EXAMPLE_URL}
    return openapi.Operation(summary, images.GIVEN, images.SUCCESS, words.REFUSALS, takes, example, repeatable=True)


def _row(name: str, act: Act, operation: openapi.Operation) -> Row:
    return Row(f"v5/{name}", families.V5, act, operation)


ROWS = (
    _row("pix2pix", pix2pix, _operation("A picture changed as a sentence says", "Pix2pix", _HOLD)),
    _row("depth2img", depth2img, _operation("A picture made anew in another one's depth", "Depth2img", _STRENGTH)),
)
