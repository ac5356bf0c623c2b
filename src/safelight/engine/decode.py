"""Finished latents to pictures. In exact mode one by one; otherwise those of one size share a call."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import groupby

import torch
from torch import Tensor

from safelight.engine.canvas import Canvas
from safelight.engine.isolate import isolate
from safelight.engine.pace import Pace
from safelight.errors import EngineFailed, SafelightError

TOGETHER = 4  # pictures of one call, at most


class Decoder:
    def __init__(self, pace: Pace, *, exact: bool) -> None:
        self._pace = pace
        self._together = 1 if exact else TOGETHER

    def __call__(self, canvases: Sequence[Canvas]) -> Iterator[tuple[Canvas, Tensor | SafelightError]]:
        """Pictures (3, H, W) in [-1, 1], on the CPU. What is not a number becomes an error, not a black picture."""
        for group in self._groups(canvases):
            yield from zip(group, isolate(group, self._decode), strict=True)

    def _groups(self, canvases: Sequence[Canvas]) -> Iterator[list[Canvas]]:
        for _, same in groupby(sorted(canvases, key=lambda c: repr(c.plan.bucket)), key=lambda c: c.plan.bucket):
            group = list(same)
            for i in range(0, len(group), self._together):
                yield group[i : i + self._together]

    def _decode(self, canvases: Sequence[Canvas]) -> Sequence[Tensor]:
        latents = torch.stack([canvas.latents for canvas in canvases])
        if not bool(latents.isfinite().all()):
            raise EngineFailed("The picture could not be made: the model's answer was not a number")
        began = time.perf_counter()
        with self._pace.measure("vae"):
            pictures = canvases[0].plan.model.decode(latents).cpu()
        if not bool(pictures.isfinite().all()):
            raise EngineFailed("The picture could not be made: the decoder's answer was not a number")
        self._pace.vae(pictures.shape[0] * pictures.shape[2] * pictures.shape[3], time.perf_counter() - began)
        self._pace.timings.pictures += len(pictures)
        return pictures.unbind()
