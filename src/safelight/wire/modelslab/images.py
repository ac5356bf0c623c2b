"""Making pictures and fetching them: text2img, img2img and inpaint under every family that has them, and fetch.

Knows no body by heart: ``read`` and ``write`` do.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Literal

from fastapi import Response

from safelight.records import AssetKind, Bitmap, ImageRequest, Operation, Task
from safelight.service.sizes import size_like
from safelight.wire import keeping, openapi
from safelight.wire.http import answer, read_once, told
from safelight.wire.modelslab import describe as words
from safelight.wire.modelslab import families, write
from safelight.wire.modelslab.call import BOTH, Call, Row
from safelight.wire.modelslab.families import Family
from safelight.wire.modelslab.held import answer_held, write_final
from safelight.wire.modelslab.passes import in_passes
from safelight.wire.modelslab.read import (
    COVERS,
    Known,
    has_size,
    read_model,
    read_path_id,
    read_request,
    read_request_id,
    read_source,
)
from safelight.wire.modelslab.schedulers import ALGORITHMS, SCHEDULERS
from safelight.wire.openapi import Schema, Shape

Pictures = dict[AssetKind, Bitmap]
Change = Callable[[ImageRequest, Pictures], Awaitable[tuple[ImageRequest, Pictures]]]


async def text2img(call: Call) -> Response:
    return await generate(call, Operation.text2img)


async def img2img(call: Call) -> Response:
    return await generate(call, Operation.img2img, init="init_image")


async def inpaint(call: Call) -> Response:
    return await generate(call, Operation.inpaint, init="init_image", mask="mask_image")


async def generate(
    call: Call,
    operation: Operation,
    *,
    init: str = "",
    mask: str = "",
    control: str = "",
    further: Mapping[AssetKind, str] = MappingProxyType({}),
    change: Change | None = None,
    single: bool = False,
) -> Response:
    """``init``, ``mask``, ``control`` and ``further`` are the fields that hold pictures; ``change`` makes of request and pictures what
    is really asked. ``single`` is for the pages that answer with one address.
    """
    services, form = call.services, call.form
    checkpoint = await services.catalogue.checkpoint(read_model(form), call.account)
    known = await _known(call)
    request = read_request(form, operation, call.family, services.settings, services.enhance, checkpoint, known)
    named = _fields(init, mask, control) | dict(further)
    sources = {kind: read_source(form, name, services.settings) for kind, name in named.items()}
    if request.webhook:
        services.inputs.check_address(request.webhook, field="webhook")
    once = await read_once(
        call.request, form, f"{call.family.name} {operation.value}" if change or single else operation.value
    )
    if once and (earlier := await services.jobs.earlier(call.account, once)):
        return await answer_held(call, earlier, single=single)
    async with services.jobs.room(call.account, Task.generate):
        pictures = {
            kind: await services.inputs.bitmap(
                source, field=named[kind], mode=_MODES.get(kind, "RGB"), payer=call.account.id
            )
            for kind, source in sources.items()
        }
    if change:
        request, pictures = await change(request, pictures)
    else:
        request = in_passes(sized(call, request, pictures), form, services.settings.max_side)
    job = await services.jobs.submit(call.account, request, pictures, once=once)
    return await answer_held(call, job, single=single)


async def _known(call: Call) -> Known:
    """As far as the request asks for any."""
    catalogue, account, form = call.services.catalogue, call.account, call.form
    return Known(
        loras=await catalogue.loras(account) if form.has("lora_model") else {},
        embeddings=await catalogue.embeddings(account) if form.has("embeddings_model") else {},
        vaes=await catalogue.vaes(account) if form.has(form.either("vae", "vae_model")) else {},
    )


def sized(
    call: Call, request: ImageRequest, pictures: Pictures, kind: AssetKind = AssetKind.init_image
) -> ImageRequest:
    """As large as was asked for, or else as that picture, within the limits."""
    if has_size(call.form) or kind not in pictures:
        return request
    width, height = size_like(pictures[kind], call.services.settings.max_side)
    return replace(request, width=width, height=height)


def echoing(request: ImageRequest, **echo: object) -> ImageRequest:
    """What the page's ``meta`` has beside that of every picture."""
    return replace(request, extras={**request.extras, "echo": echo})


def _fields(init: str, mask: str, control: str) -> dict[AssetKind, str]:
    named = {AssetKind.init_image: init, AssetKind.mask_image: mask, AssetKind.control_image: control}
    return {kind: name for kind, name in named.items() if name}


async def fetch(call: Call) -> Response:
    wanted = read_request_id(call.form) if call.path_id is None else read_path_id(call.path_id)
    job = await call.services.jobs.get(call.account, wanted)
    body = await write_final(call, job) if job.state.final else write.write_pending(call.family)
    return answer(body, headers=told(job.request))


_MODES: dict[AssetKind, Literal["RGB", "L"]] = {AssetKind.mask_image: "L"}

TEXT: Schema = {
    **words.KEY,
    "prompt": {"type": "string", "minLength": 1, "maxLength": 10_000, "description": "What the picture should show."},
    "negative_prompt": words.string("What it should not show."),
    "width": words.whole("Width in pixels, divisible by 8:", 512, 64, None),
    "height": words.whole("Height in pixels, divisible by 8:", 512, 64, None),
    "samples": words.whole("How many pictures:", 1, 1, 4),
    "num_inference_steps": words.whole("Denoising steps:", 20, 1, None),
    "guidance_scale": words.real("How closely the prompt is followed, 1 to 20.", 7.5, 1, 20),
    "seed": {
        "type": ["integer", "string", "null"],
        "description": "Same seed, same picture; taken modulo 4294967296. null or -1 draws one, which meta echoes.",
    },
    "scheduler": words.string(f"The sampler: {', '.join(SCHEDULERS)}; A1111 names too."),
    "use_karras_sigmas": words.yes("Karras spacing, where the scheduler has it.", "no"),
    "algorithm_type": words.string(f"For the DPM-Solver schedulers: {', '.join(ALGORITHMS)}."),
    "clip_skip": words.whole("Which of the text encoder's last layers is used:", 1, 1, 8),
    "model_id": words.string("A checkpoint by the name that the operator gave it."),
    "vae": words.string("An autoencoder by name, in place of the checkpoint's own."),
    "lora_model": words.string("LoRA names, separated by commas."),
    "lora_strength": {"type": ["string", "number", "null"], "description": "Their strengths, separated by commas."},
    "embeddings_model": words.string("Textual inversions by name, separated by commas; prompts have their words."),
    "safety_checker": words.yes("Replace an NSFW picture by a blank one.", "yes"),
    "safety_checker_type": words.string(f"What stands in its place: {', '.join(COVERS)}."),
    "panorama": words.yes("Draw what is larger than the checkpoint was trained to in views that overlap.", "no"),
    "highres_fix": words.yes(
        "Draw it as large as the checkpoint was trained to first, enlarge it and draw it over.", "no"
    ),
    "upscale": {
        "type": ["string", "integer", "boolean", "null"],
        "description": "yes or 2, or 3: so many times as large, drawn over at that size.",
    },
    "enhance_prompt": words.yes("Add quality words to the prompt; meta.prompt says what was used.", "yes"),
    "base64": words.yes("Let output hold addresses ending in .base64, which serve base64 text.", "no"),
    "temp": words.yes("Keep the pictures for 24 hours only.", "no"),
    **keeping.DESCRIBED,
    "instant_response": words.yes("Answer at once with processing.", "no"),
    "webhook": words.string("Called with POST when the pictures are ready, or cannot be made."),
    "track_id": {"type": ["string", "number", "boolean", "null"], "description": "Comes back in the webhook's body."},
}
PICTURE: Schema = {
    **TEXT,
    "width": words.whole(
        "Width in pixels, divisible by 8; without width and height the init image's size:", None, 64, None
    ),
    "height": words.whole("Height in pixels, divisible by 8; likewise:", None, 64, None),
    "init_image": {
        "type": ["string", "array"],
        "minLength": 1,
        "maxItems": 1,
        "description": "An http(s) address, a data URI or base64.",
    },
    "strength": words.real("How much of the init image may be destroyed; 0 gives it back.", 0.7, 0, 1),
}
MASKED: Schema = {
    **PICTURE,
    "mask_image": {"type": "string", "minLength": 1, "description": "Like init_image; white is painted anew."},
}


FINAL: Schema = words.fields(
    {
        "status": {"enum": ["success", "processing", "failed"]},
        "id": {"type": "integer"},
        "output": {"type": ["array", "string"], "items": {"type": "string"}},
        "generationTime": {"type": "number"},
        "eta": {"type": "number"},
        "fetch_result": {"type": "string"},
        "future_links": {"type": "array", "items": {"type": "string"}},
        "nsfw_content_detected": {"type": "boolean"},
        "has_nsfw_concept": {"type": "array", "items": {"type": "boolean"}},
        "meta": {"type": "object"},
    },
    "status",
    "output",
)

SUCCESS = {
    "status": "success",
    "generationTime": 2.920767068862915,
    "id": 302455,
    "output": [words.EXAMPLE_URL],
    "nsfw_content_detected": False,
    "has_nsfw_concept": [False],
    "meta": {
        "H": 512,
        "W": 512,
        "enable_attention_slicing": "true",
        "file_prefix": "05c3260d-6a2e-4aa5-82f0-e952f2a5fa10",
        "guidance_scale": 7.5,
        "model": "safelight-tiny",
        "n_samples": 1,
        "negative_prompt": "",
        "outdir": "out",
        "prompt": "a cat sitting on a bench",
        "revision": "main",
        "safety_checker": "none",
        "safetychecker": "no",
        "seed": 1793745243,
        "steps": 21,
        "vae": "safelight-tiny",
        "strength": 0.7,
        "init_image": words.EXAMPLE_URL,
    },
}
IMG2IMG = {
    "key": "",
    "prompt": "a cat sitting on a bench",
    "negative_prompt": None,
    "init_image": words.EXAMPLE_URL,
    "width": "512",
    "height": "512",
    "samples": "1",
    "num_inference_steps": "30",
    "safety_checker": "no",
    "enhance_prompt": "yes",
    "guidance_scale": 7.5,
    "strength": 0.7,
    "seed": None,
    "base64": "no",
    "webhook": None,
    "track_id": None,
}
TEXT2IMG = {name: value for name, value in IMG2IMG.items() if name not in ("init_image", "strength")}
INPAINT = IMG2IMG | {"mask_image": words.EXAMPLE_URL}

GIVEN = Shape("Generation", FINAL)


def _generation(summary: str, takes: Shape, example: object) -> openapi.Operation:
    return openapi.Operation(summary, GIVEN, SUCCESS, words.REFUSALS, takes, example, repeatable=True)


TEXT2IMG_OPERATION = _generation("A picture from a prompt", Shape("Text2img", words.fields(TEXT, "prompt")), TEXT2IMG)
IMG2IMG_OPERATION = _generation(
    "A picture from a picture and a prompt", Shape("Img2img", words.fields(PICTURE, "prompt", "init_image")), IMG2IMG
)
INPAINT_OPERATION = _generation(
    "A part of a picture painted anew",
    Shape("Inpaint", words.fields(MASKED, "prompt", "init_image", "mask_image")),
    INPAINT,
)
FETCH_OPERATION = openapi.Operation(
    "The pictures of an earlier request",
    GIVEN,
    SUCCESS,
    words.REFUSALS,
    Shape("Fetch", words.fields({**words.KEY, "request_id": words.REQUEST_ID})),
    {"key": "", "request_id": 302455},
)


def makes_text2img(path: str, family: Family) -> Row:
    return Row(path, family, text2img, TEXT2IMG_OPERATION)


def makes_img2img(path: str, family: Family) -> Row:
    return Row(path, family, img2img, IMG2IMG_OPERATION)


def makes_inpaint(path: str, family: Family) -> Row:
    return Row(path, family, inpaint, INPAINT_OPERATION)


def fetches(family: Family) -> tuple[Row, Row]:
    """Published clients use both shapes, and some of them GET."""
    path = f"{family.name}/fetch"
    return Row(path, family, fetch, FETCH_OPERATION, BOTH), Row(f"{path}/{{id}}", family, fetch, FETCH_OPERATION, BOTH)


def makes(family: Family) -> tuple[Row, ...]:
    """All three under their plain names, and their fetch."""
    return (
        makes_text2img(f"{family.name}/text2img", family),
        makes_img2img(f"{family.name}/img2img", family),
        makes_inpaint(f"{family.name}/inpaint", family),
        *fetches(family),
    )


def _dreambooth(family: Family) -> tuple[Row, ...]:
    """Where text to image has no name of its own."""
    return (
        makes_text2img(family.name, family),
        makes_img2img(f"{family.name}/img2img", family),
        makes_inpaint(f"{family.name}/inpaint", family),
        *fetches(family),
    )


ROWS = (
    *makes(families.V3),
    *_dreambooth(families.V3_DREAMBOOTH),
    *_dreambooth(families.V4_DREAMBOOTH),
    Row("v5/images/fetch/{id}", families.V5, fetch, FETCH_OPERATION, BOTH),
    *fetches(families.V6),  # no page of the vendor's, but where several clients look
    *makes(families.V6_IMAGES),
    *makes(families.V6_REALTIME),
    makes_inpaint("v6/image_editing/inpaint", families.V6_EDITING),
    *fetches(families.V6_EDITING),
    makes_text2img("v7/images/text-to-image", families.V7_IMAGES),
    makes_img2img("v7/images/image-to-image", families.V7_IMAGES),
    makes_inpaint("v7/images/inpaint", families.V7_IMAGES),
    *fetches(families.V7_IMAGES),
    *(row for family in families.FETCHED for row in fetches(family)),
)
