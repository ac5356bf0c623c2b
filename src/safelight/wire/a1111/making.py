"""txt2img and img2img of the web UI's API, what is being made for the caller, and stopping it. Each picture is a job like any other."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from fastapi import Request, Response

from safelight.errors import EngineFailed, Invalid, NotFound, Unavailable
from safelight.records import Account, AssetKind, Bitmap, ImageRequest, Job, JobState, Operation
from safelight.service.catalogue import installed_words
from safelight.service.history import Filter
from safelight.service.services import Services
from safelight.wire.a1111 import pictures, write
from safelight.wire.a1111.controlnet import FIELD as CONTROLNET
from safelight.wire.a1111.controlnet import Unit, read_units
from safelight.wire.a1111.read import CHECKPOINT, DIALECT, VAE, Asked, read_model, read_request, read_vae
from safelight.wire.forms import Form
from safelight.wire.http import answer, told
from safelight.wire.keeping import receipt_of

PATIENCE = 600.0  # seconds that a caller is kept waiting for his pictures
ACTIVE = Filter(states=(JobState.queued, JobState.running))
MOST_ACTIVE = 100


@dataclass(frozen=True, slots=True)
class Call:
    """One authenticated request, and what its account has set before."""

    services: Services
    account: Account
    request: Request
    form: Form
    options: Mapping[str, object]


async def txt2img(call: Call) -> Response:
    units = await _units(call, starts=False, masked=False)
    request = _following(await _request(call, Operation.text2img), units)
    async with call.services.jobs.room(call.account):
        followed = await _followed(call, units)
    return await _make(call, request, followed)


async def img2img(call: Call) -> Response:
    form = call.form
    given = form.fields.get("init_images")
    sources = given if isinstance(given, list) else []
    if len(sources) != 1 or not isinstance(sources[0], str):
        raise Invalid("init_images", "must be a list of one picture, as base64 or data URI")
    units = await _units(call, starts=True, masked=form.has("mask"))
    request = await _request(call, Operation.inpaint if form.has("mask") else Operation.img2img)
    request = _following(request, units)
    async with call.services.jobs.room(call.account):
        init = await _bitmap(call, sources[0], "init_images")
        mask = await _bitmap(call, form.required("mask", limit=_most(call)), "mask") if form.has("mask") else None
        followed = await _followed(call, units)
    prepared = await asyncio.to_thread(_prepared, form, request, init, mask)
    return await _make(call, request, prepared | followed)


async def _units(call: Call, *, starts: bool, masked: bool) -> list[Unit]:
    known = await call.services.catalogue.controlnets(call.account)
    return read_units(call.form, call.services.settings, known, starts=starts, masked=masked)


def _following(request: ImageRequest, units: Sequence[Unit]) -> ImageRequest:
    notes = tuple(unit.note for unit in units if unit.note)
    return replace(request, controls=tuple(unit.use for unit in units), notes=(*request.notes, *notes))


async def _followed(call: Call, units: Sequence[Unit]) -> dict[AssetKind, Bitmap]:
    """The pictures that ControlNet units brought along."""
    return {
        AssetKind.labelled(unit.use.picture): await _bitmap(call, unit.source, CONTROLNET)
        for unit in units
        if unit.source
    }


async def progress(call: Call) -> Response:
    active = await _active(call)
    if not active:
        return answer(write.write_progress(None, 0, None))
    first = next((job for job in active if job.state is JobState.running), active[0])
    try:
        standing = await call.services.following.glance(call.account, first.id)
    except NotFound:  # erased between the two questions
        return answer(write.write_progress(None, 0, None))
    wanted = standing.preview if not call.form.yes("skip_current_image", False) else None
    png = await asyncio.to_thread(pictures.to_png, wanted) if wanted else None
    return answer(write.write_progress(standing, len(active), base64.b64encode(png).decode() if png else None))


async def interrupt(call: Call) -> Response:
    """What is stopped is erased: no half-made picture is kept."""
    for job in await _active(call):
        await call.services.erasure.delete(call.account, [job.id])
    return answer({})


async def _active(call: Call) -> list[Job]:
    """The caller's own by this dialect, the oldest first."""
    page = await call.services.history.page(call.account, ACTIVE, limit=MOST_ACTIVE)
    return [job for job in reversed(page.jobs) if job.request and job.request.dialect == DIALECT]


async def _request(call: Call, operation: Operation) -> ImageRequest:
    asked = Asked(call.form, call.services.settings, call.options)
    choice = await call.services.catalogue.checkpoint(read_model(asked.option(CHECKPOINT)), call.account)
    read = read_request(asked, operation, choice, await call.services.catalogue.loras(call.account))
    words = await call.services.catalogue.embeddings(call.account)
    vaes = await call.services.catalogue.vaes(call.account)
    vae = read_vae(asked.option(VAE), vaes)
    return replace(
        read,
        embeddings=installed_words(words, read.prompt, read.negative_prompt),
        vae=vae,
        installed_vae=vaes[vae] if vae else None,
    )


def _most(call: Call) -> int:
    return call.services.settings.max_body_bytes


async def _bitmap(call: Call, source: str, field: str) -> Bitmap:
    mode = "L" if field == "mask" else "RGB"
    return await call.services.inputs.bitmap(source, field=field, mode=mode, payer=call.account.id)  # type: ignore[arg-type]


def _prepared(form: Form, request: ImageRequest, init: Bitmap, mask: Bitmap | None) -> dict[AssetKind, Bitmap]:
    """Fitted to the size of the picture to be, and what lies under the mask made ready."""
    size, mode = (request.width, request.height), form.whole("resize_mode", 0, 0, 3)
    picture = pictures.fit(init, size, mode)
    if mask is None:
        return {AssetKind.init_image: pictures.to_bitmap(picture)}
    blur, invert = form.real("mask_blur", 4, 0, 64), form.yes("inpainting_mask_invert", False)
    fitted = pictures.fit_mask(mask, size, mode, invert=invert, blur=blur)
    started = pictures.start_from(picture, fitted, form.whole("inpainting_fill", 0, 0, 3), request.seed)
    return {AssetKind.init_image: pictures.to_bitmap(started), AssetKind.mask_image: pictures.to_bitmap(fitted)}


async def _make(call: Call, request: ImageRequest, given: Mapping[AssetKind, Bitmap]) -> Response:
    services, echo = call.services, call.form.fields
    job = await services.jobs.submit(call.account, request, dict(given))
    async with services.unstored.answering(call.account, job) as gone:
        try:
            job = await services.jobs.wait(call.account, job.id, PATIENCE)
        except NotFound:  # interrupted, or erased by another way
            return answer(write.write_images(job, request, [], echo), headers=told(request))
        if job.state is JobState.failed:
            raise EngineFailed(job.error)
        if not job.state.final:
            raise Unavailable("The picture is not ready yet. It goes on being made.")
        images = await _images(call, job) if call.form.yes("send_images", True) else []
    return answer(write.write_images(job, request, images, echo), headers=told(request) | receipt_of(gone))


async def _images(call: Call, job: Job) -> list[str]:
    request = job.request
    assert isinstance(request, ImageRequest)
    made = []
    for png, seed in zip(await call.services.assets.outputs(call.account, job), write.seeds_of(request), strict=False):
        made.append(base64.b64encode(pictures.with_text(png, write.write_text(job, request, seed))).decode())
    return made
