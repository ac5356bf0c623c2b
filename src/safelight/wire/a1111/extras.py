"""Enlarging pictures, putting them into words, and reading the text in them.

A picture that is enlarged or put into words is a job like any other meanwhile, and is erased before the answer is given: nothing is kept.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import Response

from safelight.errors import EngineFailed, Invalid
from safelight.records import AssetKind, Bitmap, CaptionRequest, Job, JobState, UpscaleRequest
from safelight.service.tools import BUNDLED, FILTERS, Tool, captioner, upscaler
from safelight.settings import Settings
from safelight.wire.a1111 import pictures, write
from safelight.wire.a1111.making import PATIENCE, Call
from safelight.wire.a1111.read import DIALECT
from safelight.wire.forms import Form
from safelight.wire.http import RECEIPT, answer
from safelight.wire.keeping import read_store

MOST_SCALE = 8.0
MOST_BATCH = 16
SAID = "<p>Enlarged by resampling.</p>"
SAID_BY = "<p>Enlarged by {}.</p>"


@dataclass(frozen=True, slots=True)
class Enlargement:
    """What is to be done to every picture of a request."""

    scale: float | None  # None: to ``size``
    size: tuple[int, int]
    tool: Tool
    crop: bool

    def size_of(self, bitmap: Bitmap) -> tuple[int, int]:
        if self.scale is None:
            return self.size if self.crop else _within(bitmap, self.size)
        return max(1, round(bitmap.width * self.scale)), max(1, round(bitmap.height * self.scale))

    @property
    def said(self) -> str:
        return SAID if self.tool.name in FILTERS else SAID_BY.format(self.tool.name or BUNDLED)


async def extra_single_image(call: Call) -> Response:
    wanted = read_enlargement(call.form, call.services.settings)
    source = call.form.required("image", limit=call.services.settings.max_body_bytes)
    (png,), receipt = await _enlarged(call, wanted, [source], "image")
    return answer({"html_info": wanted.said, "image": png}, headers=receipt)


async def extra_batch_images(call: Call) -> Response:
    wanted, given = read_enlargement(call.form, call.services.settings), call.form.fields.get("imageList")
    if not isinstance(given, list) or not 1 <= len(given) <= MOST_BATCH:
        raise Invalid("imageList", f"must be a list of 1 to {MOST_BATCH} pictures")
    sources = [each.get("data") if isinstance(each, dict) else None for each in given]
    if not all(isinstance(source, str) and source for source in sources):
        raise Invalid("imageList", 'must hold {"data": base64, "name": ...}')
    images, receipt = await _enlarged(call, wanted, list(map(str, sources)), "imageList")
    return answer({"html_info": wanted.said, "images": images}, headers=receipt)


async def interrogate(call: Call) -> Response:
    services, tool = call.services, captioner(call.services.settings)
    if call.form.text("model", limit=100, default="clip") != "clip":
        raise Invalid("model", "must be clip; no model here tells pictures by tags")
    source = call.form.required("image", limit=services.settings.max_body_bytes)
    async with services.jobs.room(call.account):
        bitmap = await services.inputs.bitmap(source, field="image", payer=call.account.id)
    asked = CaptionRequest(
        pixels=bitmap.width * bitmap.height, captioner=str(tool.name), effort=tool.effort, dialect=DIALECT,
        store=read_store(call.form),
    )  # fmt: skip
    job = await services.jobs.submit(call.account, asked, {AssetKind.init_image: bitmap})
    try:
        said = await services.assets.texts(call.account, await _finished(call, job))
    finally:
        receipt = await services.erasure.delete(call.account, [job.id])
    return answer({"caption": said[0]}, headers={RECEIPT: receipt.id})


async def png_info(call: Call) -> Response:
    """The picture itself is not decoded."""
    source = call.form.required("image", limit=call.services.settings.max_body_bytes)
    try:
        data = base64.b64decode(source.partition(",")[2] if source.startswith("data:") else source)
    except ValueError:
        raise Invalid("image", "must be base64") from None
    found = pictures.texts(data)
    text = found.get("parameters", "")
    items = {name: value for name, value in found.items() if name != "parameters"}
    return answer({"info": text, "items": items, "parameters": write.read_text(text)})


def read_enlargement(form: Form, settings: Settings) -> Enlargement:
    for name in ("gfpgan_visibility", "codeformer_visibility"):
        if form.real(name, 0, 0, 1):
            raise Invalid(name, "is not possible on this server: it has no face restorer")
    name = form.text("upscaler_1", limit=200, default="None")
    if name not in (offered := upscalers(settings)):
        raise Invalid("upscaler_1", f"must be one of {', '.join(offered)}")
    to_size = form.whole("resize_mode", 0, 0, 1) == 1
    return Enlargement(
        scale=None if to_size else form.real("upscaling_resize", 2, 0.1, MOST_SCALE),
        size=(form.whole("upscaling_resize_w", 512, 1, 16_384), form.whole("upscaling_resize_h", 512, 1, 16_384)),
        tool=upscaler(offered[name], settings),
        crop=to_size and form.yes("upscaling_crop", True),
    )


def upscalers(settings: Settings) -> dict[str, str]:
    """As the web UI names them, and as they are named here."""
    return {
        "None": "lanczos",
        "Lanczos": "lanczos",
        "Nearest": "nearest",
        BUNDLED: "",
        **{name: name for name in settings.upscalers},
    }


async def _enlarged(
    call: Call, wanted: Enlargement, sources: Sequence[str], field: str
) -> tuple[list[str], dict[str, str]]:
    """As base64, and the proof that nothing of them is kept."""
    services = call.services
    async with services.jobs.room(call.account):
        bitmaps = [await services.inputs.bitmap(source, field=field, payer=call.account.id) for source in sources]
    asked = [(_request(call, wanted, bitmap, field), bitmap) for bitmap in bitmaps]
    jobs = list[Job]()
    try:
        for request, bitmap in asked:
            jobs.append(await services.jobs.submit(call.account, request, {AssetKind.init_image: bitmap}))
        images = [await _image(call, job) for job in jobs]
    finally:
        receipt = await services.erasure.delete(call.account, [job.id for job in jobs]) if jobs else None
    return images, {RECEIPT: receipt.id} if receipt else {}


def _request(call: Call, wanted: Enlargement, bitmap: Bitmap, field: str) -> UpscaleRequest:
    (width, height), most = wanted.size_of(bitmap), call.services.settings.max_upscaled_pixels
    if width * height > most:
        raise Invalid(field, f"would become {width}x{height}, more than {most:,} pixels")
    return UpscaleRequest(
        width=width, height=height, upscaler=wanted.tool.name, effort=wanted.tool.effort,
        fit="crop" if wanted.crop else "stretch", dialect=DIALECT, store=read_store(call.form),
    )  # fmt: skip


async def _image(call: Call, job: Job) -> str:
    made = await call.services.assets.outputs(call.account, await _finished(call, job))
    return base64.b64encode(made[0]).decode()


async def _finished(call: Call, job: Job) -> Job:
    job = await call.services.jobs.wait(call.account, job.id, PATIENCE)
    if job.state is not JobState.succeeded:
        raise EngineFailed(job.error)
    return job


def _within(bitmap: Bitmap, size: tuple[int, int]) -> tuple[int, int]:
    """The same proportions, no side longer than asked."""
    scale = min(size[0] / bitmap.width, size[1] / bitmap.height)
    return max(1, round(bitmap.width * scale)), max(1, round(bitmap.height * scale))
