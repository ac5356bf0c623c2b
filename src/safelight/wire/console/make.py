"""The page on which pictures are made, and the card of each job on it: asked for, followed step by step, made again, erased."""

from __future__ import annotations

from dataclasses import replace

from fastapi import Response

from safelight.errors import Invalid, NotFound
from safelight.records import AssetKind, Bitmap, ImageRequest, Job, Operation, Task, UpscaleRequest
from safelight.service.catalogue import installed_words
from safelight.service.history import Filter
from safelight.service.tools import upscaler
from safelight.wire.console import read
from safelight.wire.console.call import Call
from safelight.wire.console.cards import card_of
from safelight.wire.console.samplers import SAMPLERS
from safelight.wire.http import path_id
from safelight.wire.jobs import told_live

LATEST = 8  # jobs that the page shows when it is opened
ENLARGED = 2  # times

Pictures = dict[AssetKind, Bitmap]


async def page(call: Call) -> Response:
    services = call.services
    latest = await services.history.page(call.account, Filter(), limit=LATEST)
    entries = await services.catalogue.entries(call.account)
    checkpoints = [entry for entry in entries if entry.kind == "checkpoint" and entry.ready]
    return call.page(
        "make.html",
        cards=[card_of(services, job) for job in latest.jobs if job.request and job.request.makes],
        checkpoints=checkpoints,
        loras=sorted(await services.catalogue.loras(call.account)),
        samplers=SAMPLERS,
        wants=services.catalogue.wants(None),
        limits=services.settings,
        usual_side=min(read.USUAL_SIDE, services.settings.max_side),
        use=call.form.text("use", limit=read.MOST_NAME),
        asked=await _asked(call),
    )


async def _asked(call: Call) -> ImageRequest | None:
    """What an earlier job was asked for, to begin from."""
    if not call.form.has("like"):
        return None
    job = await call.services.jobs.get(call.account, call.form.whole("like", 0, 1, 2**63 - 1))
    return job.request if isinstance(job.request, ImageRequest) else None


async def submit(call: Call) -> Response:
    """Answers with the card of the new job, which the page follows from then on."""
    services, files = call.services, call.files
    init, mask = (read.read_file(files.get(name, ()), name) for name in ("init", "mask"))
    operation = Operation.text2img if init is None else Operation.img2img if mask is None else Operation.inpaint
    choice = await services.catalogue.checkpoint(read.read_model(call.form), call.account)
    loras = await services.catalogue.loras(call.account)
    request = read.read_request(call.form, operation, services.settings, choice, loras)
    words = await services.catalogue.embeddings(call.account)
    request = replace(request, embeddings=installed_words(words, request.prompt, request.negative_prompt))
    pictures: Pictures = {}
    async with services.jobs.room(call.account, Task.generate):
        if init is not None:
            pictures[AssetKind.init_image] = await services.inputs.decoded(init, field="init")
        if init is not None and mask is not None:
            pictures[AssetKind.mask_image] = await services.inputs.decoded(mask, field="mask", mode="L")
    return await _card(call, await services.jobs.submit(call.account, request, pictures))


async def again(call: Call) -> Response:
    """The same with another seed, from the same pictures."""
    services = call.services
    job = await services.jobs.get(call.account, path_id(call.request))
    if not isinstance(job.request, ImageRequest):
        raise NotFound
    pictures = await services.assets.inputs(call.account, job.id)
    if job.request.operation is not Operation.text2img and AssetKind.init_image not in pictures:
        raise NotFound("The picture that this one was made from is not kept any more.")
    decoded = {
        kind: await services.inputs.decoded(png, mode="L" if kind is AssetKind.mask_image else "RGB")
        for kind, png in pictures.items()
    }
    request = replace(job.request, seed=read.new_seed(), webhook=None, dialect=read.DIALECT, route="make")
    return await _card(call, await services.jobs.submit(call.account, request, decoded))


async def enlarge(call: Call) -> Response:
    """Twice as wide and high, by what comes with the package."""
    services, settings = call.services, call.services.settings
    _, png = await services.assets.open(call.request.path_params["name"], call.account)
    picture = await services.inputs.decoded(png)
    width, height, tool = picture.width * ENLARGED, picture.height * ENLARGED, upscaler("", settings)
    if width * height > settings.max_upscaled_pixels:
        raise Invalid("", f"It would become {width} × {height}, larger than this server allows.")
    request = UpscaleRequest(
        width=width, height=height, upscaler=tool.name, effort=tool.effort, dialect=read.DIALECT, route="enlarge"
    )
    return await _card(call, await services.jobs.submit(call.account, request, {AssetKind.init_image: picture}))


async def card(call: Call) -> Response:
    return await _card(call, await call.services.jobs.get(call.account, path_id(call.request)))


async def events(call: Call) -> Response:
    return await told_live(call.services, call.account, call.request, previews=True)


async def erase(call: Call) -> Response:
    """Cancels what has not ended: what its owner stopped, nobody wants to keep."""
    job = path_id(call.request)
    receipt = await call.services.erasure.delete(call.account, [job])
    return call.fragment("receipt.html", receipt=receipt)


async def _card(call: Call, job: Job) -> Response:
    return call.fragment("card.html", card=card_of(call.services, job))
