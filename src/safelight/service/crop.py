"""A checked picture cut to a square. Parses only PNGs that ``inputs`` has already made; knows nothing of uploads."""

from __future__ import annotations

import asyncio
import hashlib
from io import BytesIO

from PIL import Image, ImageOps

from safelight.records import Bitmap


async def crop_square(bitmap: Bitmap, side: int) -> Bitmap:
    """The largest square around the centre, as ``side`` by ``side`` pixels."""
    return await asyncio.to_thread(_crop, bitmap, side)


def _crop(bitmap: Bitmap, side: int) -> Bitmap:
    with Image.open(BytesIO(bitmap.png), formats=("PNG",)) as picture:
        square = ImageOps.fit(picture, (side, side), Image.Resampling.LANCZOS)
    file = BytesIO()
    square.save(file, "PNG")
    png = file.getvalue()
    return Bitmap(png, side, side, hashlib.sha256(png).hexdigest())
