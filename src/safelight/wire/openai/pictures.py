"""Our PNGs in the form that a caller asked for, and previews at the size of the picture to be. Parses only what we made ourselves."""

from __future__ import annotations

import asyncio
import base64
from io import BytesIO

from PIL import Image

from safelight.wire.openai.read import Wanted


async def write_picture(png: bytes, wanted: Wanted) -> str:
    """Base64, as ``b64_json`` holds it."""
    data = png if wanted.format == "png" else await asyncio.to_thread(_convert, png, wanted, None)
    return base64.b64encode(data).decode()


async def write_partial(preview: bytes, size: tuple[int, int], wanted: Wanted) -> str:
    return base64.b64encode(await asyncio.to_thread(_convert, preview, wanted, size)).decode()


def _convert(data: bytes, wanted: Wanted, size: tuple[int, int] | None) -> bytes:
    file = BytesIO()
    with Image.open(BytesIO(data), formats=("PNG", "WEBP")) as opened:
        picture = (
            opened.convert("RGB") if size is None else opened.convert("RGB").resize(size, Image.Resampling.BICUBIC)
        )
    picture.save(file, wanted.format, **_options(wanted))
    return file.getvalue()


def _options(wanted: Wanted) -> dict[str, int]:
    """OpenAI's scale ends at 100, where JPEG's own says that more than 95 is waste."""
    return {"compress_level": 3} if wanted.format == "png" else {"quality": min(95, max(1, wanted.compression))}
