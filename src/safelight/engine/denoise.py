"""One call of the model for many pictures: rows gathered and padded, the call, guidance. A culprit fails alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from safelight.engine.batcher import padded
from safelight.engine.canvas import Canvas
from safelight.engine.graphs import Graphs
from safelight.engine.isolate import isolate
from safelight.engine.pace import Pace
from safelight.engine.update import guide, send
from safelight.errors import SafelightError


class Denoiser:
    def __init__(self, pace: Pace, graphs: Graphs) -> None:
        self._pace = pace
        self._graphs = graphs

    def __call__(self, canvases: Sequence[Canvas], widths: Sequence[int]) -> list[Tensor | SafelightError]:
        """The model's answer (C, h, w) for each, guided. Calls are padded to the next of ``widths``."""
        return isolate(canvases, lambda some: self._call(some, widths))

    def _call(self, canvases: Sequence[Canvas], widths: Sequence[int]) -> Sequence[Tensor]:
        rows = [row for canvas in canvases for row in canvas.rows()]
        filler = padded(len(rows), widths) - len(rows)  # a filler row repeats the first; what it gives is dropped
        with self._pace.measure("unet"):
            outputs = self._graphs.denoise(canvases[0].plan, rows + rows[:1] * filler)
        return _guided(canvases, outputs)


def _guided(canvases: Sequence[Canvas], outputs: Sequence[Tensor]) -> Sequence[Tensor]:
    device = canvases[0].plan.model.device
    counts = torch.tensor([canvas.plan.rows for canvas in canvases])
    last = counts.cumsum(0) - 1
    push = torch.tensor([canvas.plan.push for canvas in canvases])
    return guide(
        torch.stack(list(outputs)), send(last - counts + 1, device), send(last, device), send(push, device)
    ).unbind()
