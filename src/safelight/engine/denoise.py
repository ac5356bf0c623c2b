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
        counts = [len(canvas.conditioning) for canvas in canvases]
        used = sum(counts)
        filler = padded(used, widths) - used  # a filler row repeats the first; what it gives is dropped
        owners = [i for i, count in enumerate(counts) for _ in range(count)] + [0] * filler
        conditioning = [row for canvas in canvases for row in canvas.conditioning]
        conditioning += conditioning[:1] * filler
        device = canvases[0].plan.model.device
        rows = send(torch.tensor(owners), device)
        x = torch.stack([canvas.latents * canvas.step.scale for canvas in canvases])[rows]  # (R, C, h, w)
        timesteps = send(torch.tensor([canvases[i].step.timestep for i in owners]), device)  # (R,)
        extras = [canvas.extra for canvas in canvases if canvas.extra is not None]
        extra = torch.stack(extras)[rows] if extras else None  # (R, 5, h, w)
        with self._pace.measure("unet"):
            outputs = self._graphs.denoise(canvases[0].plan, x, timesteps, conditioning, extra)
        last = torch.tensor(counts).cumsum(0) - 1
        first = last - torch.tensor(counts) + 1
        scale = torch.tensor([canvas.plan.generation.guidance_scale for canvas in canvases])
        return guide(outputs, send(first, device), send(last, device), send(scale, device)).unbind()
