"""The vendor's pages where an instruction speaks of several pictures: ``qwen_edit``, ``interior_mixer`` and ``fashion``.

Each goes to a checkpoint of the operator's that edits by instruction; one that has learned dressing or furnishing alone is not needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from fastapi import Response

from safelight.errors import NotOffered
from safelight.records import FURTHER, AssetKind, ImageRequest, Operation
from safelight.service.catalogue import MOST_PICTURES
from safelight.wire import openapi
from safelight.wire.modelslab import describe as words
from safelight.wire.modelslab import families, images
from safelight.wire.modelslab.call import Act, Call, Row, filled
from safelight.wire.modelslab.families import Family
from safelight.wire.modelslab.read import MOST_PROMPT, echoed_address, read_model, read_sources
from safelight.wire.openapi import Shape

PICTURE, CLOTH, OBJECT = "init_image", "cloth_image", "object_image"
GARMENTS = {"upper_body": "upper-body garment", "lower_body": "lower-body garment", "dresses": "dress"}


async def qwen_edit(call: Call) -> Response:
    sources = read_sources(call.form, PICTURE, 1, MOST_PICTURES)
    named = {f"{PICTURE}[{i}]" if i else PICTURE: source for i, source in enumerate(sources)}
    return await _edit(filled(call, {}, **named), list(named), {PICTURE: [*map(echoed_address, sources)]})


async def interior_mixer(call: Call) -> Response:
    """The page's own example calls the object image 1 and the room image 2."""
    return await _edit(call, [OBJECT, PICTURE])


async def fashion(call: Call) -> Response:
    """The page's prompts tell what is to be seen and not what is to be done. Its older programs say ``image``."""
    word = call.form.text("cloth_type", limit=100).strip().lower()
    told = f"Dress the person of picture 1 in the {GARMENTS.get(word, 'garment')} of picture 2, everything else unchanged. "
    seen = call.form.text("prompt", limit=MOST_PROMPT - len(told))
    person = call.form.fields.get(call.form.either(PICTURE, "image"))
    given = filled(call, {}, prompt=(told + seen).strip(), init_image=person)
    return await _edit(given, [PICTURE, CLOTH], {"image": echoed_address(person)})


async def _edit(call: Call, fields: Sequence[str], echo: Mapping[str, object] = MappingProxyType({})) -> Response:
    """``fields`` hold the pictures in the order in which the instruction counts them; the answer is as large as ``init_image``."""
    name = await call.services.catalogue.editor(read_model(call.form), len(fields))
    if name is None:
        raise _refusal(len(fields))
    kinds = dict(zip(fields, (AssetKind.init_image, *FURTHER), strict=False))
    beside = tuple(kinds[field].label for field in fields[1:])

    async def change(request: ImageRequest, pictures: images.Pictures) -> tuple[ImageRequest, images.Pictures]:
        asked = images.echoing(replace(request, beside=beside), **echo)
        return images.sized(call, asked, pictures, kinds[PICTURE]), pictures

    further = {kinds[field]: field for field in fields[1:]}
    given = filled(call, {"enhance_prompt": "no"}, model_id=name)
    return await images.generate(given, Operation.edit, init=fields[0], further=further, change=change)


def _refusal(count: int) -> NotOffered:
    what = "a picture" if count == 1 else f"{count} pictures together"
    return NotOffered(
        f"This server has no checkpoint that edits {what} by instruction."
        " Its operator can add one (FLUX.1 Kontext or Qwen-Image-Edit-Plus): SAFELIGHT_MODELS, or `safelight models add`."
    )


_FIELDS: openapi.Schema = {name: shape for name, shape in images.PICTURE.items() if name not in ("strength", PICTURE)}
_PICTURE = images.PICTURE[PICTURE]
_SEVERAL = {
    "type": ["array", "string"],
    "minLength": 1,
    "minItems": 1,
    "maxItems": MOST_PICTURES,
    "description": "One to four pictures, which the prompt may count: a list, or addresses separated by commas.",
}
_CLOTH_TYPE = words.string(f"What is worn: {', '.join(GARMENTS)}.")


def _operation(summary: str, name: str, properties: openapi.Schema, **example: object) -> openapi.Operation:
    """What the example has is required."""
    takes = Shape(name, words.fields({**_FIELDS, **properties}, *example))
    told = {"key": "", **example}
    return openapi.Operation(summary, images.GIVEN, images.SUCCESS, words.REFUSALS, takes, told, repeatable=True)


_URL = words.EXAMPLE_URL
_EDIT = _operation(
    "One to four pictures changed or put together as a sentence says",
    "QwenEdit",
    {PICTURE: _SEVERAL},
    prompt="the cat of image 2 sits on the chair of image 1",
    init_image=[_URL, _URL],
)
_MIX = _operation(
    "A thing of one picture put into the room of another",
    "InteriorMixer",
    {PICTURE: _PICTURE, OBJECT: _PICTURE},
    prompt="add the sofa of image 1 to the room of image 2",
    init_image=_URL,
    object_image=_URL,
)
_DRESS = _operation(
    "The person of one picture in the clothes of another",
    "Fashion",
    {PICTURE: _PICTURE, CLOTH: _PICTURE, "cloth_type": _CLOTH_TYPE},
    init_image=_URL,
    cloth_image=_URL,
)


def _rows(name: str, act: Act, operation: openapi.Operation, *served: Family) -> tuple[Row, ...]:
    return tuple(Row(f"{family.name}/{name}", family, act, operation) for family in served)


_EDITING = (families.V6_EDITING, families.SERVERS["image_editing"])
ROWS = (
    *_rows("qwen_edit", qwen_edit, _EDIT, *_EDITING),
    *_rows("fashion", fashion, _DRESS, families.V5, *_EDITING),
    *_rows("interior_mixer", interior_mixer, _MIX, families.FAMILIES["v6/interior"], families.SERVERS["interior"]),
)
