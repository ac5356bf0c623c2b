"""An init image brought to the proportions of the picture that is asked for, its mask with it; and then to its size.

What the mask covers may be filled from around it.

What is cut or added is measured on the init image and applied to the mask in proportion, whatever its own size.
"""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image

from safelight.engine.generation import Generation, Picture, Pixels, Result

REACH = 5  # pixels around each that is filled


def framed(init: Pixels, mask: Pixels | None, width: int, height: int, fit: str) -> tuple[Pixels, Pixels | None]:
    """``crop`` cuts from the middle, ``pad`` repeats the edges, ``stretch`` leaves it to the engine to squeeze."""
    ratio = (init.shape[1] * height) / (init.shape[0] * width)
    shares = {
        "crop": (min(1.0, 1 / ratio), min(1.0, ratio)),
        "pad": (max(1.0, 1 / ratio), max(1.0, ratio)),
        "stretch": (1.0, 1.0),
    }
    across, down = shares[fit]
    return _to(init, across, down), None if mask is None else _to(mask, across, down)


def cleared(init: Pixels, mask: Pixels) -> Pixels:
    """What the mask covers filled from around it, as Telea (2004) does it. Where nothing is known there is nothing to go by."""
    hole = np.asarray(Image.fromarray(mask).resize((init.shape[1], init.shape[0]), Image.Resampling.NEAREST)) > 0
    if hole.all():
        return init
    found: Pixels = np.asarray(cv2.inpaint(init, hole.astype(np.uint8), REACH, cv2.INPAINT_TELEA), np.uint8)
    return found


def kept(generation: Generation) -> Result:
    """Of no strength at all: the init image at the size that was asked for, once for each sample. No engine is asked."""
    assert generation.init_image is not None
    size = (generation.width, generation.height)
    pixels = np.asarray(Image.fromarray(generation.init_image).resize(size, Image.Resampling.LANCZOS))
    seeds = [(generation.seed + number) % 2**32 for number in range(generation.samples)]
    return Result(tuple(Picture(pixels, seed) for seed in seeds), generation.steps, 0.0, size)


def _to(pixels: Pixels, across: float, down: float) -> Pixels:
    height, width = pixels.shape[:2]
    more_x, more_y = max(1, round(width * across)) - width, max(1, round(height * down)) - height
    if more_x < 0 or more_y < 0:
        left, top = -more_x // 2, -more_y // 2
        return np.ascontiguousarray(pixels[top : top + height + more_y, left : left + width + more_x])
    around = [(more_y // 2, more_y - more_y // 2), (more_x // 2, more_x - more_x // 2)]
    return np.pad(pixels, [*around, (0, 0)][: pixels.ndim], mode="edge")
