"""A picture cut into windows that overlap, and put together again from the same windows made larger.

Windows lie wholly inside the picture and are all of one size, so that they can share a call. Where two overlap, the one
goes over into the other. Knows nothing of networks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from safelight.engine.generation import Pixels

STEP = 32  # pixels


@dataclass(frozen=True, slots=True)
class Window:
    """Where it lies, in pixels of the smaller picture, and how much of it its neighbours before it have as well."""

    top: int
    left: int
    height: int
    width: int
    above: int
    beside: int

    def of(self, pixels: Pixels) -> Pixels:
        return pixels[self.top : self.top + self.height, self.left : self.left + self.width]


def windows(height: int, width: int, side: int, overlap: int) -> list[Window]:
    """Row by row, from the left: as few as can be that are no larger than ``side``, and then no larger than they need to be."""
    tall, wide = _length(height, side, overlap), _length(width, side, overlap)
    down, across = _starts(height, tall, overlap), _starts(width, wide, overlap)
    return [
        Window(top, left, tall, wide, above=_shared(down, row, tall), beside=_shared(across, column, wide))
        for row, top in enumerate(down)
        for column, left in enumerate(across)
    ]


class Mosaic:
    """Takes the larger windows in their order. Holds the picture and one row of windows, and no more.

    ``margin`` pixels along a window's edge are not used where a neighbour has them too.
    """

    def __init__(self, height: int, width: int, factor: int, margin: int) -> None:
        self._factor, self._margin = factor, margin * factor
        self._picture: Pixels = np.zeros((height * factor, width * factor, 3), np.uint8)
        self._band: Pixels = self._picture[:0]

    def lay(self, window: Window, larger: Pixels) -> None:
        top, left, above, beside = (
            number * self._factor for number in (window.top, window.left, window.above, window.beside)
        )
        if left == 0:
            self._band = np.zeros((larger.shape[0], *self._picture.shape[1:]), np.uint8)
        right = left + larger.shape[1]
        _lay_over(self._band[:, left:right].swapaxes(0, 1), larger.swapaxes(0, 1), beside, self._margin)
        if right == self._picture.shape[1]:
            _lay_over(self._picture[top : top + len(self._band)], self._band, above, self._margin)

    @property
    def picture(self) -> Pixels:
        return self._picture


def _length(length: int, side: int, overlap: int) -> int:
    """In steps, so that pictures of nearly the same size have windows of the same."""
    if length <= side:
        return length
    count = -(-(length - overlap) // (side - overlap))
    return min(side, -(-(length + (count - 1) * overlap) // (count * STEP)) * STEP)


def _starts(length: int, side: int, overlap: int) -> list[int]:
    last = length - side
    return [*range(0, last, side - overlap), last] if last else [0]


def _shared(starts: list[int], number: int, side: int) -> int:
    return starts[number - 1] + side - starts[number] if number else 0


def _lay_over(under: Pixels, upper: Pixels, shared: int, margin: int) -> None:
    """Row by row: the margin stays as it is below, then the one goes over into the other, then all is new."""
    begins, ends = (margin, shared - margin) if shared else (0, 0)
    share = (np.arange(ends - begins, dtype=np.float32) + 0.5)[:, None, None] / max(1, ends - begins)
    below, above = under[begins:ends].astype(np.float32), upper[begins:ends].astype(np.float32)
    under[begins:ends] = (below + (above - below) * share).round().astype(np.uint8)
    under[ends:] = upper[ends:]
