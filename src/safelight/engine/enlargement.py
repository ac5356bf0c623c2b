"""One picture on its way to a larger size: which networks' passes it takes, and which of its windows come next.

Knows nothing of threads or of other pictures.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TypeAlias

import numpy as np

from safelight.engine import images
from safelight.engine.generation import Enlargement, Pixels, Progress
from safelight.engine.tiles import Mosaic, Window, windows
from safelight.engine.upscalers import Upscaler
from safelight.errors import Cancelled

WORTH_IT = 1.25  # times as large: less is for a filter
Kind: TypeAlias = tuple[int, int, int, int]


class Claim:
    """An enlargement that was handed in. ``future`` is done exactly once: pixels, failure or Cancelled."""

    def __init__(self, asked: Enlargement, on_progress: Callable[[Progress], None]) -> None:
        self.asked = asked
        self.future: Future[Pixels] = Future()
        self.future.set_running_or_notify_cancel()  # to take it back, use cancel()
        self.on_progress = on_progress

    def cancel(self) -> None:
        self.fail(Cancelled())

    def fail(self, error: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(error)

    def deliver(self, pixels: Pixels) -> None:
        if not self.future.done():
            self.future.set_result(pixels)


class Work:
    """A claim that has begun. One thread alone uses it."""

    def __init__(self, claim: Claim, upscaler: Upscaler) -> None:
        self.claim, self.upscaler = claim, upscaler
        self._pixels = claim.asked.pixels
        self._factors = deque(factors(claim.asked, upscaler))
        self._done, self._steps = 0, _steps(self._pixels, self._factors, upscaler)
        self._begin()

    @property
    def factor(self) -> int:
        return self._factors[0]

    @property
    def kind(self) -> Kind:
        """Works of one kind may share a call."""
        return id(self.upscaler), self.factor, self._coming[0].height, self._coming[0].width

    @property
    def over(self) -> bool:
        return self.claim.future.done()

    def take(self, most: int) -> list[Window]:
        return [self._coming.popleft() for _ in range(min(most, len(self._coming)))]

    def pixels_of(self, window: Window) -> Pixels:
        return window.of(self._whole)

    def lay(self, window: Window, larger: Pixels) -> None:
        """In the order in which they were taken."""
        self._mosaic.lay(window, larger)
        self._done += 1
        self.claim.on_progress(Progress(self._done, self._steps))
        if window is self._last:
            height, width = (side * self.factor for side in self._pixels.shape[:2])
            self._pixels = self._mosaic.picture[:height, :width]
            self._factors.popleft()
            self._begin()

    def _begin(self) -> None:
        """The next pass; after the last one a filter does what is left."""
        if not self._factors:
            self.claim.deliver(images.resize(self._pixels, self.claim.asked.width, self.claim.asked.height))
            return
        self._whole = _in_units(self._pixels, self.upscaler.unit)
        height, width = self._whole.shape[:2]
        self._coming = deque(windows(height, width, self.upscaler.side, self.upscaler.overlap))
        self._last = self._coming[-1]
        self._mosaic = Mosaic(height, width, self.factor, self.upscaler.reach)


def factors(asked: Enlargement, upscaler: Upscaler) -> list[int]:
    """Of the passes that it takes: one at least where the operator's network was asked for by name."""
    height, width = asked.pixels.shape[:2]
    missing, taken = max(asked.width / width, asked.height / height), list[int]()
    while missing > WORTH_IT or (asked.model and not taken):
        taken.append(next((one for one in upscaler.factors if one >= missing), upscaler.factors[-1]))
        missing /= taken[-1]
        if taken[-1] == 1:
            break
    return taken


def _steps(pixels: Pixels, passes: Sequence[int], upscaler: Upscaler) -> int:
    (height, width), count, unit = pixels.shape[:2], 0, upscaler.unit
    for factor in passes:
        count += len(windows(_up(height, unit), _up(width, unit), upscaler.side, upscaler.overlap))
        height, width = height * factor, width * factor
    return max(count, 1)


def _up(side: int, unit: int) -> int:
    return -(-side // unit) * unit


def _in_units(pixels: Pixels, unit: int) -> Pixels:
    height, width = pixels.shape[:2]
    missing = (-height % unit, -width % unit)
    return np.pad(pixels, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge") if any(missing) else pixels
