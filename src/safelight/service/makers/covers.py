"""What stands in the place of a picture that must not be shown, by the vendor's names. What it showed cannot be made out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from safelight.engine.generation import Pixels

GRAINS = 12  # along the longer side: all that is left of a picture


def covered(pixels: Pixels, cover: str) -> Pixels:
    return COVERS[cover](pixels)


def _black(pixels: Pixels) -> Pixels:
    return np.zeros_like(pixels)


def _blurred(pixels: Pixels) -> Pixels:
    return _coarse(pixels, Image.Resampling.BICUBIC)


def _pixelated(pixels: Pixels) -> Pixels:
    return _coarse(pixels, Image.Resampling.NEAREST)


def _coarse(pixels: Pixels, way_back: Image.Resampling) -> Pixels:
    picture = Image.fromarray(pixels)
    grain = max(picture.size) / GRAINS
    few = (max(1, round(picture.width / grain)), max(1, round(picture.height / grain)))
    return np.asarray(picture.resize(few, Image.Resampling.BOX).resize(picture.size, way_back))


def _labelled(pixels: Pixels) -> Pixels:
    picture = Image.fromarray(_black(pixels))
    middle = (picture.width / 2, picture.height / 2)
    font = ImageFont.load_default(picture.width / 12)
    ImageDraw.Draw(picture).text(middle, "Sensitive content", (160, 160, 160), font, anchor="mm")
    return np.asarray(picture)


COVERS: dict[str, Callable[[Pixels], Pixels]] = {
    "black": _black,
    "blur": _blurred,
    "pixelate": _pixelated,
    "sensitive_content_text": _labelled,
}
