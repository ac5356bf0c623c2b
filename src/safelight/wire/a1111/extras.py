"""Enlarging pictures, and reading the text in them. Nothing is stored and no job is made: what comes in goes out again."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import dataclass

from fastapi import Response

from safelight.errors import Invalid
from safelight.records import Bitmap
from safelight.wire.a1111 import pictures, write
from safelight.wire.a1111.making import Call
from safelight.wire.forms import Form
from safelight.wire.http import answer

MOST_SCALE = 8.0
MOST_BATCH = 16
SAID = "<p>Enlarged by resampling: this server has no upscaler model.</p>"


@dataclass(frozen=True, slots=True)
class Enlargement:
    """What is to be done to every picture of a request."""

    scale: float | None  # None: to ``size``
    size: tuple[int, int]
    upscaler: str
    crop: bool

    def size_of(self, bitmap: Bitmap) -> tuple[int, int]:
        if self.scale is None:
            return self.size if self.crop else _within(bitmap, self.size)
        return max(1, round(bitmap.width * self.scale)), max(1, round(bitmap.height * self.scale))


async def extra_single_image(call: Call) -> Response:
    wanted = read_enlargement(call.form)
    png = await _enlarged(
        call, wanted, call.form.required("image", limit=call.services.settings.max_body_bytes), "image"
    )
    return answer({"html_info": SAID, "image": png})


async def extra_batch_images(call: Call) -> Response:
    wanted, given = read_enlargement(call.form), call.form.fields.get("imageList")
    if not isinstance(given, list) or not 1 <= len(given) <= MOST_BATCH:
        raise Invalid("imageList", f"must be a list of 1 to {MOST_BATCH} pictures")
    sources = [each.get("data") if isinstance(each, dict) else None for each in given]
    if not all(isinstance(source, str) and source for source in sources):
        raise Invalid("imageList", 'must hold {"data": base64, "name": ...}')
    return answer(
        {"html_info": SAID, "images": [await _enlarged(call, wanted, str(each), "imageList") for each in sources]}
    )


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


def read_enlargement(form: Form) -> Enlargement:
    for name in ("gfpgan_visibility", "codeformer_visibility"):
        if form.real(name, 0, 0, 1):
            raise Invalid(name, "is not possible on this server: it has no face restorer")
    upscaler = form.text("upscaler_1", limit=200, default="None")
    if upscaler not in pictures.UPSCALERS:
        raise Invalid("upscaler_1", f"must be one of {', '.join(pictures.UPSCALERS)}")
    to_size = form.whole("resize_mode", 0, 0, 1) == 1
    return Enlargement(
        scale=None if to_size else form.real("upscaling_resize", 2, 0.1, MOST_SCALE),
        size=(form.whole("upscaling_resize_w", 512, 1, 16_384), form.whole("upscaling_resize_h", 512, 1, 16_384)),
        upscaler=upscaler,
        crop=to_size and form.yes("upscaling_crop", True),
    )


async def _enlarged(call: Call, wanted: Enlargement, source: str, field: str) -> str:
    bitmap = await call.services.inputs.bitmap(source, field=field, payer=call.account.id)
    width, height = size = wanted.size_of(bitmap)
    most = call.services.settings.max_image_pixels
    if width * height > most:
        raise Invalid(field, f"would become {width}x{height}, more than {most:,} pixels")
    png = await asyncio.to_thread(pictures.enlarge, bitmap, size, wanted.upscaler, crop=wanted.crop)
    return base64.b64encode(png).decode()


def _within(bitmap: Bitmap, size: tuple[int, int]) -> tuple[int, int]:
    """The same proportions, no side longer than asked."""
    scale = min(size[0] / bitmap.width, size[1] / bitmap.height)
    return max(1, round(bitmap.width * scale)), max(1, round(bitmap.height * scale))
