"""The size of a picture that is made from another and was asked for without one. Knows no request."""

from __future__ import annotations

from safelight.records import Bitmap

LEAST = 64  # pixels of a side
UNIT = 8  # a model's latents stand for squares of so many pixels


def size_like(picture: Bitmap, most: int) -> tuple[int, int]:
    """Width and height: the picture's own, in its proportions brought within the limits, each side to the nearest multiple."""
    shrunk = min(1.0, most / max(picture.width, picture.height))
    scale = max(shrunk, LEAST / min(picture.width, picture.height))
    return _side(picture.width * scale, most), _side(picture.height * scale, most)


def _side(length: float, most: int) -> int:
    return max(LEAST, min(round(length / UNIT), most // UNIT) * UNIT)
