"""The vendor's ``img_mixer``: two to four pictures made into one, their prompts with them, by weights; and ``magic_mix``: a
prompt's thing in a picture's layout (Liew et al. 2022).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fastapi import Response

from safelight.errors import Invalid
from safelight.records import FURTHER, ImageRequest, MixUse, Operation
from safelight.service.catalogue import MOST_PICTURES
from safelight.wire import openapi
from safelight.wire.forms import Form
from safelight.wire.modelslab import describe as words
from safelight.wire.modelslab import families, images
from safelight.wire.modelslab.call import Call, Row, filled
from safelight.wire.modelslab.families import Family
from safelight.wire.modelslab.read import MOST_PROMPT, echoed_address, read_sources
from safelight.wire.openapi import Shape

PICTURES, WEIGHTS, PROMPT = "init_image", "init_image_weights", "prompt"
MAGIC = {"kmin": 0.3, "kmax": 0.5, "mix_factor": 0.5}  # and what they are where nothing is said


async def img_mixer(call: Call) -> Response:
    form = call.form
    sources = read_sources(form, PICTURES, 2, MOST_PICTURES)
    shares, prompts = _shares(form, len(sources)), _prompts(form, len(sources))
    further = {kind: f"{PICTURES}[{i}]" for i, kind in enumerate(FURTHER[: len(sources) - 1], 1)}
    apart = dict(zip((PICTURES, *further.values()), sources, strict=True))
    mixture = tuple(map(MixUse, (kind.label for kind in further), prompts[1:], shares[1:]))
    echo = {
        PICTURES: ",".join(map(echoed_address, sources)),
        WEIGHTS: ",".join(f"{share:g}" for share in shares),
    }

    async def change(request: ImageRequest, pictures: images.Pictures) -> tuple[ImageRequest, images.Pictures]:
        asked = images.sized(call, request, pictures)
        rest = prompts[1:] if len(set(prompts)) > 1 else [asked.prompt] * len(mixture)
        told = tuple(use._replace(prompt=prompt) for use, prompt in zip(mixture, rest, strict=True))
        return images.echoing(replace(asked, share=shares[0], mixture=told), **echo), pictures

    asked = filled(call, {}, **apart, prompt=prompts[0])
    return await images.generate(asked, Operation.img2img, init=PICTURES, further=further, change=change)


async def magic_mix(call: Call) -> Response:
    """As image to image at strength ``kmax``, the picture mixed in anew after each step until ``kmin`` is reached."""
    kmin, kmax, factor = (call.form.real(name, usual, 0, 1) for name, usual in MAGIC.items())
    if kmin > kmax:
        raise Invalid("kmin", "must be at most kmax")

    async def change(request: ImageRequest, pictures: images.Pictures) -> tuple[ImageRequest, images.Pictures]:
        asked = images.sized(call, request, pictures)
        asked = replace(asked, layout_share=1 - factor, layout_until=kmin)
        shown = echoed_address(call.form.fields["image"])
        return images.echoing(asked, image=shown, kmin=kmin, kmax=kmax, mix_factor=factor), pictures

    return await images.generate(filled(call, {}, strength=kmax), Operation.img2img, init="image", change=change)


def _shares(form: Form, count: int) -> list[float]:
    """All alike where nothing is said."""
    if not form.has(WEIGHTS):
        return [1.0] * count
    told = form.fields[WEIGHTS]
    parts: list[Any] = told if isinstance(told, list) else str(told).split(",")
    shares = [Form({WEIGHTS: part}).real(WEIGHTS, 0.0, 0, 1) for part in parts]
    if len(shares) != count or not sum(shares):
        raise Invalid(WEIGHTS, "must be as many numbers as there are pictures, and one of them above 0")
    return shares


def _prompts(form: Form, count: int) -> list[str]:
    """One for all of them, or a list with one each."""
    told = form.fields.get(PROMPT)
    if not isinstance(told, list):
        return [form.required(PROMPT, limit=MOST_PROMPT)] * count
    if len(told) != count:
        raise Invalid(PROMPT, "must be one text, or a list of as many as there are pictures")
    return [Form({PROMPT: each}).required(PROMPT, limit=MOST_PROMPT) for each in told]


_FIELDS: openapi.Schema = {
    **images.PICTURE,
    PICTURES: {
        "type": ["array", "string"],
        "minLength": 1,
        "minItems": 2,
        "maxItems": MOST_PICTURES,
        "description": "Two to four pictures: a list, or addresses separated by commas.",
    },
    WEIGHTS: {
        "type": ["string", "array", "null"],
        "description": "How much each counts beside the others, 0 to 1, separated by commas; all alike without it.",
    },
    PROMPT: {
        "type": ["string", "array"],
        "minLength": 1,
        "description": "One for all pictures, or a list of one each.",
    },
}
_OPERATION = openapi.Operation(
    "Two to four pictures mixed into one",
    images.GIVEN,
    images.SUCCESS,
    words.REFUSALS,
    Shape("Mix", words.fields(_FIELDS, PROMPT, PICTURES)),
    {"key": "", PROMPT: "rose man", PICTURES: [words.EXAMPLE_URL] * 2, WEIGHTS: "0.5,0.7"},
    repeatable=True,
)


_MAGIC_FIELDS: openapi.Schema = {
    **{name: shape for name, shape in images.PICTURE.items() if name not in (PICTURES, "strength")},
    "image": {"type": "string", "minLength": 1, "description": "The picture whose layout is kept."},
    "kmin": words.real("From this strength on the prompt alone paints.", MAGIC["kmin"], 0, 1),
    "kmax": words.real("How much of the picture may be destroyed.", MAGIC["kmax"], 0, 1),
    "mix_factor": words.real("How little of the picture is mixed in before.", MAGIC["mix_factor"], 0, 1),
}
_MAGIC_OPERATION = openapi.Operation(
    "A prompt's thing in a picture's layout",
    images.GIVEN,
    images.SUCCESS,
    words.REFUSALS,
    Shape("MagicMix", words.fields(_MAGIC_FIELDS, PROMPT, "image")),
    {"key": "", PROMPT: "Bed", "image": words.EXAMPLE_URL, **MAGIC},
    repeatable=True,
)


def _mixes(family: Family) -> Row:
    return Row(f"{family.name}/img_mixer", family, img_mixer, _OPERATION)


def _magic(family: Family) -> Row:
    return Row(f"{family.name}/magic_mix", family, magic_mix, _MAGIC_OPERATION)


ROWS = (
    *map(_mixes, (families.V5, families.V6_EDITING)),
    *map(_magic, (families.V3, families.V5, families.V6_EDITING, families.SERVERS["image_editing"])),
)
