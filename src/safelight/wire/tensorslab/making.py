"""Making pictures as TensorsLab's models do, by this server's checkpoints: the model's name is an alias like any other.

With a source picture it is that picture made anew by the prompt, without one it is a new picture.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial

from fastapi import Response

from safelight.errors import Invalid
from safelight.records import FROM_NOISE, FURTHER, AssetKind, Bitmap, ImageRequest, Operation, Task
from safelight.service.catalogue import Choice
from safelight.service.sizes import size_like
from safelight.wire import keeping, openapi
from safelight.wire.forms import Form
from safelight.wire.http import told
from safelight.wire.keeping import must_store, read_expires_in
from safelight.wire.openapi import Schema, Shape
from safelight.wire.tensorslab.call import Act, Call
from safelight.wire.tensorslab.write import described, write_done

MODELS = ("seedreamv4", "seedreamv45", "seedreamv5", "zimage", "quickedit")
SOURCES = ("sourceImage", "sourceImage.items")  # both stand in the vendor's own example
MOST_PROMPT, MOST_NAME, MOST_URL, MOST_BATCH = 10_000, 200, 2_048, 15
SIDE = 2048  # of the square that a proportion alone stands for
UNIT, LEAST = 8, 64  # pixels
STRENGTH = 0.7
STRETCH = 4  # the longest proportion of two sides
Develop = Callable[[], Awaitable[Bitmap]]  # a picture as it was given, to be fetched and decoded when its turn comes

_PIXELS = re.compile(r"(\d{1,5})\s*[xX*×]\s*(\d{1,5})")
_RATIO = re.compile(r"(\d{1,3}):(\d{1,3})")
_KILO = re.compile(r"([124])[kK]")


async def make(call: Call) -> Response:
    """Answered at once; how far it is, ``infobytaskid`` tells."""
    services = call.services
    given = _sources(call)
    checkpoint = await _checkpoint(call, len(given))
    shown = dict(zip((AssetKind.init_image, *FURTHER), given[: max(1, checkpoint.wants.pictures)], strict=False))
    request = _request(call, checkpoint, list(shown), len(given))
    if request.enhance_prompt:
        request = replace(request, prompt=services.enhance(request.prompt))
    async with services.jobs.room(call.account, Task.generate):
        pictures = {kind: await develop() for kind, develop in shown.items()}
    if given and not call.form.choice("resolution", limit=MOST_NAME):
        width, height = size_like(pictures[AssetKind.init_image], services.settings.max_side)
        request = replace(request, width=width, height=height)
    job = await services.jobs.submit(call.account, request, pictures)
    return write_done({"taskid": job.file_prefix}, "Task created successfully", told(job.request))


async def _checkpoint(call: Call, given: int) -> Choice:
    """With source pictures one that edits by instruction, where no other of this server is meant."""
    name, catalogue = call.form.text("category", limit=MOST_NAME) or call.path, call.services.catalogue
    return await (catalogue.for_edit(name, call.account, given) if given else catalogue.checkpoint(name, call.account))


def _request(call: Call, checkpoint: Choice, shown: Sequence[AssetKind], given: int) -> ImageRequest:
    settings, wants = call.services.settings, checkpoint.wants
    operation = Operation.text2img if not shown else Operation.edit if wants.pictures else Operation.img2img
    notes = [note for note in (checkpoint.note, _unused(given, len(shown))) if note]
    return replace(
        read_request(call.form, call.path, operation, notes, settings.max_side),
        model=checkpoint.model,
        installed=checkpoint.installed,
        steps=min(wants.steps, settings.max_steps),
        guidance_scale=wants.guidance_scale,
        beside=tuple(kind.label for kind in shown[1:]),
    )


def read_request(form: Form, model: str, operation: Operation, notes: list[str], most: int) -> ImageRequest:
    """Raises Invalid naming the field and the rule."""
    must_store(form, "a task's pictures are fetched later")
    width, height = read_resolution(form.choice("resolution", limit=MOST_NAME), most, notes)
    seed = form.whole("seed", -1)
    return ImageRequest(
        operation=operation,
        prompt=form.required("prompt", limit=MOST_PROMPT),
        width=width,
        height=height,
        samples=form.whole("batchsize", 1, 1, MOST_BATCH),
        seed=secrets.randbits(32) if seed == -1 else seed % 2**32,
        strength=1.0 if operation in FROM_NOISE else STRENGTH,
        enhance_prompt=form.yes("prompt_extend", False),
        expires_in=read_expires_in(form),
        dialect="tensorslab",
        route=model,
        notes=tuple(notes),
    )


def read_resolution(word: str, most: int, notes: list[str]) -> tuple[int, int]:
    """Width and height from ``16:9``, ``2K``, ``1024x768`` or ``1024*768``; what is larger than the server makes is shrunk."""
    asked = _asked(word.strip() or "1:1")
    scale = min(1.0, most / max(asked))
    width, height = (max(LEAST, round(side * scale / UNIT) * UNIT) for side in asked)
    if word and scale < 1:
        notes.append(f"resolution {word} is more than this server makes; the picture has {width}x{height}.")
    return width, height


def _asked(word: str) -> tuple[int, int]:
    if kilo := _KILO.fullmatch(word):
        return int(kilo[1]) * 1024, int(kilo[1]) * 1024
    if (pixels := _PIXELS.fullmatch(word)) and min(sides := (int(pixels[1]), int(pixels[2]))) >= LEAST:
        return sides
    if ratio := _RATIO.fullmatch(word):
        wide, high = int(ratio[1]), int(ratio[2])
        if 0 < max(wide, high) <= STRETCH * min(wide, high):
            return round(SIDE * wide / max(wide, high)), round(SIDE * high / max(wide, high))
    raise Invalid("resolution", "must be a proportion (16:9), 1K, 2K or 4K, or pixels (1024x768)")


def _sources(call: Call) -> list[Develop]:
    """Files before addresses."""
    inputs, most = call.services.inputs, call.services.settings.max_body_bytes
    files = [data for name in SOURCES for data in call.files.get(name, [])]
    addresses = [(name, source) for name in (*SOURCES, "imageUrl") for source in _texts(call.form, name, most)]
    return [
        *(partial(inputs.decoded, data, field="sourceImage") for data in files),
        *(partial(inputs.bitmap, source, field=name, payer=call.account.id) for name, source in addresses),
    ]


def _texts(form: Form, name: str, most: int) -> list[str]:
    """One address or several."""
    value = form.fields.get(name)
    given = value if isinstance(value, list) else [value]
    return [Form({name: each}).required(name, limit=most) for each in given if each not in (None, "")]


def _unused(sources: int, used: int) -> str:
    if sources <= max(1, used):
        return ""
    return f"Of {sources} source pictures the first {'is' if used == 1 else f'{used} are'} used."


_TEXT: Schema = {"type": ["string", "null"]}
_MAKE = Shape(
    "TensorsLabTask",
    {
        "type": "object",
        "properties": {
            "prompt": {"type": "string", "minLength": 1, "maxLength": MOST_PROMPT},
            "resolution": {**_TEXT, "description": "16:9, 2K, 1024x768 or 1024*768."},
            "batchsize": {"type": ["integer", "string", "null"], "minimum": 1, "description": "1 to 15 pictures."},
            "seed": {"type": ["integer", "string", "null"]},
            "prompt_extend": {
                "type": ["string", "integer", "boolean", "null"],
                "description": "1 enhances the prompt.",
            },
            **keeping.EXPIRY,
            "category": {**_TEXT, "description": "A checkpoint's name or alias instead of the address's."},
            "sourceImage": {**_TEXT, "description": "A picture to start from; as a file where the body is multipart."},
            "imageUrl": {**_TEXT, "description": "Its address."},
        },
        "required": ["prompt"],
    },
)
_EXAMPLE = {"prompt": "a cat sitting on a bench", "resolution": "1:1", "batchsize": 1}
ROWS: dict[str, tuple[Act, openapi.Operation]] = {
    f"/v1/images/{name}": (
        make,
        described(
            f"A picture by the checkpoint that stands for {name}",
            _MAKE,
            _EXAMPLE,
            {"taskid": "05c3260d-6a2e-4aa5-82f0-e952f2a5fa10"},
            files=True,
        ),
    )
    for name in MODELS
}
