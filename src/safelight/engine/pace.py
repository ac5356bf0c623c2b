"""How long things take here, measured: seconds in each part of the engine, and what a request will probably cost."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Literal

Part = Literal["text", "vae", "unet", "aside"]
SMOOTHING = 0.2  # weight of the newest tick in an average


@dataclass(slots=True)
class Timings:
    """Totals since the engine began. ``rest`` is what of a tick is in no model: choosing, noise, update, progress.

    ``aside`` is the decoding that goes on beside the ticks, and part of none.
    """

    text: float = 0.0
    vae: float = 0.0
    unet: float = 0.0
    rest: float = 0.0
    aside: float = 0.0
    ticks: int = 0
    rows: int = 0  # that pictures asked for
    padded_rows: int = 0  # that the model was called with
    pictures: int = 0

    @property
    def seconds(self) -> float:
        """Of the engine's own thread."""
        return self.text + self.vae + self.unet + self.rest


@dataclass(frozen=True, slots=True)
class EngineLoad:
    """What the engine is doing at this moment."""

    rows_per_tick: float  # moving averages over the latest ticks
    seconds_per_step: float
    rows_waiting: int  # of all pictures in progress: what a call with room for everyone would hold
    pictures: int
    requests: int
    seconds_ahead: float  # until all of this is done, predicted
    timings: Timings


@dataclass(slots=True)
class Pace:
    """Measures on the engine's thread, and ``aside`` on the decoder's; may be asked from any."""

    timings: Timings = field(default_factory=Timings)
    rows_per_tick: float = 0.0
    seconds_per_step: float = 0.0
    _rows: dict[int, float] = field(default_factory=dict)  # pixels -> seconds of a call at that size, per row asked for
    _vae_pixel: float = 0.0  # seconds per pixel, encoded or decoded

    @contextmanager
    def measure(self, part: Part) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            setattr(self.timings, part, getattr(self.timings, part) + time.perf_counter() - began)

    @contextmanager
    def tick(self) -> Iterator[None]:
        """Around a whole tick: what no part of it claimed is the rest."""
        began, claimed = time.perf_counter(), self.timings.seconds
        try:
            yield
        finally:
            parts = self.timings.seconds - claimed
            self.timings.rest += max(0.0, time.perf_counter() - began - parts)

    def step(self, pixels: int, rows: int, padded_rows: int, seconds: float) -> None:
        self.timings.ticks += 1
        self.timings.rows += rows
        self.timings.padded_rows += padded_rows
        self.rows_per_tick = _smooth(self.rows_per_tick, rows)
        self.seconds_per_step = _smooth(self.seconds_per_step, seconds)
        self._rows[pixels] = _smooth(self._rows.get(pixels, 0.0), seconds / rows)

    def vae(self, pixels: int, seconds: float) -> None:
        self._vae_pixel = _smooth(self._vae_pixel, seconds / pixels)

    def row_seconds(self, pixels: int) -> float:
        """One row in one call of the model at that size; from the nearest size when it has not been seen."""
        known = dict(self._rows)
        if not known:
            return 0.0
        nearest = min(known, key=lambda size: abs(size - pixels))
        return known[nearest] * pixels / nearest

    def vae_seconds(self, pixels: int) -> float:
        return self._vae_pixel * pixels

    def snapshot(self) -> Timings:
        return replace(self.timings)


def _smooth(average: float, value: float) -> float:
    return value if average == 0.0 else (1 - SMOOTHING) * average + SMOOTHING * value
