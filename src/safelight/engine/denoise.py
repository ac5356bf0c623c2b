"""One call of the model for many pictures: rows gathered and padded, the call, guidance. A culprit fails alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate, islice
from typing import TypeVar

import torch
from torch import Tensor

from safelight.engine.batcher import padded
from safelight.engine.canvas import Canvas
from safelight.engine.families.family import Row, Shape
from safelight.engine.graphs import Graphs
from safelight.engine.isolate import isolate
from safelight.engine.pace import Pace
from safelight.engine.plan import Plan
from safelight.engine.update import guide, hold, send, temper
from safelight.errors import SafelightError

Item = TypeVar("Item")


class Denoiser:
    def __init__(self, pace: Pace, graphs: Graphs) -> None:
        self._pace = pace
        self._graphs = graphs

    def __call__(self, canvases: Sequence[Canvas], widths: Sequence[int]) -> list[Tensor | SafelightError]:
        """The model's answer (C, h, w) for each, guided. Calls are padded to the next of ``widths``."""
        return isolate(canvases, lambda some: self._call(some, widths))

    def _call(self, canvases: Sequence[Canvas], widths: Sequence[int]) -> Sequence[Tensor]:
        with self._pace.measure("unet"):
            rows = [row for canvas in canvases for row in canvas.rows()]
            calls = (rows[i : i + widths[-1]] for i in range(0, len(rows), widths[-1]))  # several for one that is wide
            outputs = iter([output for some in calls for output in self._answers(canvases[0].plan, some, widths)])
            answers = [canvas.whole(list(islice(outputs, canvas.plan.rows))) for canvas in canvases]
        return _guided(canvases, [answer for each in answers for answer in each])

    def _answers(self, plan: Plan, rows: list[Row], widths: Sequence[int]) -> Sequence[Tensor]:
        filler = padded(len(rows), widths) - len(rows)  # a filler row repeats the first; what it gives is dropped
        return self._graphs.denoise(plan, rows + rows[:1] * filler)[: len(rows)]


def _guided(canvases: Sequence[Canvas], outputs: Sequence[Tensor]) -> list[Tensor]:
    """Of each picture, its one or two answers as one. Those of a size together."""
    first = list(accumulate((canvas.plan.turns for canvas in canvases), initial=0))
    answers: dict[int, Tensor] = {}
    for same in by_shape(range(len(canvases)), lambda i: canvases[i].plan.shape):
        device = canvases[0].plan.model.device
        stacked = torch.stack([output for i in same for output in outputs[first[i] : first[i + 1]]])
        last = torch.tensor([canvases[i].plan.turns for i in same]).cumsum(0) - 1
        begin = last - torch.tensor([canvases[i].plan.turns for i in same]) + 1
        shown = send(torch.maximum(begin, last - 1), device)  # the first, but where that is not shown the picture
        push = torch.tensor([canvases[i].plan.push for i in same])
        pushed = guide(stacked, shown, send(last, device), send(push, device))
        if canvases[0].plan.model.family.holds:
            scale = torch.tensor([canvases[i].plan.generation.image_guidance_scale for i in same])
            pushed = hold(pushed, stacked, send(begin, device), shown, send(scale, device))
        answers |= dict(zip(same, pushed, strict=True))
    return [_settled(canvas, answers[i], outputs[first[i + 1] - 1]) for i, canvas in enumerate(canvases)]


def _settled(canvas: Canvas, pushed: Tensor, prompted: Tensor) -> Tensor:
    """Where guidance may have gone too far, by the family's way and by the checkpoint's wish."""
    if not canvas.plan.guided:
        return pushed
    model = canvas.plan.model
    return temper(model.family.settle(pushed, prompted), prompted, model.guidance_rescale)


def by_shape(items: Iterable[Item], shape: Callable[[Item], Shape]) -> list[list[Item]]:
    """Items apart by the shape of their latents, in the order of the first of each."""
    groups: dict[Shape, list[Item]] = {}
    for item in items:
        groups.setdefault(shape(item), []).append(item)
    return list(groups.values())
