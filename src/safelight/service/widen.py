"""A checked picture laid in the middle of a larger canvas, and the mask of what is to be painted around it.

Parses only PNGs that ``inputs`` has already made; knows nothing of requests.
"""

from __future__ import annotations

import asyncio
import hashlib
from io import BytesIO

from PIL import Image, ImageFilter

from safelight.records import Bitmap

BLUR = 16  # pixels; so soft is the first guess at what lies outside


async def widen(bitmap: Bitmap, width: int, height: int, overlap: int) -> tuple[Bitmap, Bitmap]:
    """The canvas, with the picture's edges drawn out to its own, and the mask: white outside and ``overlap`` pixels into it.

    A picture that is larger than the canvas is shrunk to fit.
    """
    return await asyncio.to_thread(_widen, bitmap, width, height, overlap)


def _widen(bitmap: Bitmap, width: int, height: int, overlap: int) -> tuple[Bitmap, Bitmap]:
    with Image.open(BytesIO(bitmap.png), formats=("PNG",)) as opened:
        picture = opened.convert("RGB")
    picture.thumbnail((width, height), Image.Resampling.LANCZOS)
    left, top = (width - picture.width) // 2, (height - picture.height) // 2
    right, bottom = left + picture.width, top + picture.height
    canvas = _drawn_out(picture, width, height, left, top)
    canvas.paste(picture, (left, top))
    mask = Image.new("L", (width, height), 255)
    kept = (
        left + overlap * (left > 0),
        top + overlap * (top > 0),
        right - overlap * (right < width),
        bottom - overlap * (bottom < height),
    )
    if kept[0] < kept[2] and kept[1] < kept[3]:
        mask.paste(0, kept)
    return _bitmap(canvas), _bitmap(mask)


def _drawn_out(picture: Image.Image, width: int, height: int, left: int, top: int) -> Image.Image:
    """Every pixel outside takes the colour of the nearest one inside, softened."""
    placed = picture.transform((picture.width, height), Image.Transform.EXTENT, (0, -top, picture.width, height - top))
    rows = [picture.crop((0, y, picture.width, y + 1)) for y in (0, picture.height - 1)]
    placed.paste(rows[0].resize((picture.width, max(1, top))), (0, 0))
    below = height - top - picture.height
    placed.paste(rows[1].resize((picture.width, max(1, below))), (0, height - max(1, below)))
    placed.paste(picture, (0, top))
    canvas = Image.new("RGB", (width, height))
    beside = width - left - picture.width
    canvas.paste(placed.crop((0, 0, 1, height)).resize((max(1, left), height)), (0, 0))
    canvas.paste(
        placed.crop((picture.width - 1, 0, picture.width, height)).resize((max(1, beside), height)),
        (width - max(1, beside), 0),
    )
    canvas.paste(placed, (left, 0))
    return canvas.filter(ImageFilter.GaussianBlur(BLUR))


def _bitmap(picture: Image.Image) -> Bitmap:
    file = BytesIO()
    picture.save(file, "PNG")
    png = file.getvalue()
    return Bitmap(png, picture.width, picture.height, hashlib.sha256(png).hexdigest())
