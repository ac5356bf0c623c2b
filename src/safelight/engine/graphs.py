"""The model's call on CUDA, replayed from a graph per shape; elsewhere, and where no graph can be had, as it is.

A graph removes the launch of a thousand small kernels per call. It reads from and writes to buffers of its own, so a
call is: copy in, replay, copy out. Written against the CUDA interface of torch and not yet run on a device.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from safelight.engine.families.family import Inputs, Row
from safelight.engine.model import Model
from safelight.engine.plan import Bucket, Plan

log = logging.getLogger(__name__)

Shape = tuple[Bucket, int, tuple[str, ...]]  # what shares a call, its rows, and what it reads: ControlNets add some


@dataclass(frozen=True, slots=True, eq=False)
class Captured:
    graph: torch.cuda.CUDAGraph
    inputs: Inputs
    output: Tensor

    def replay(self, inputs: Inputs) -> Tensor:
        for name, given in inputs.items():
            self.inputs[name].copy_(given, non_blocking=True)
        self.graph.replay()
        return self.output.clone()


class Graphs:
    def __init__(self, *, enabled: bool = True, keep: int = 16) -> None:
        self._enabled = enabled
        self._keep = keep
        # A graph reads its model's weights where they lie, so it goes when the model goes. None: could not be captured.
        self._captured: WeakKeyDictionary[Model, OrderedDict[Shape, Captured | None]] = WeakKeyDictionary()
        # One memory for all graphs: they run one after the other, and an answer is copied out before the next.
        self._pool = cache(torch.cuda.graph_pool_handle)

    def denoise(self, plan: Plan, rows: Sequence[Row]) -> list[Tensor]:
        model, loras = plan.model, plan.generation.loras
        if not (self._enabled and model.device.type == "cuda" and not loras):
            return model.denoise(rows, loras)
        inputs = model.family.gather(rows)
        captured = self._get(model, (plan.bucket, len(rows), tuple(inputs)), inputs)
        answer = model.call(inputs) if captured is None else captured.replay(inputs)
        torch.cuda.current_stream(model.device).synchronize()  # and no other: pictures are decoded on one of their own
        return model.family.split(answer, rows)

    def _get(self, model: Model, shape: Shape, inputs: Inputs) -> Captured | None:
        captured = self._captured.setdefault(model, OrderedDict())
        if shape not in captured:
            captured[shape] = _capture(model, inputs, self._pool())
            if len(captured) > self._keep:
                captured.popitem(last=False)
        captured.move_to_end(shape)
        return captured[shape]


def _capture(model: Model, inputs: Inputs, pool: Any) -> Captured | None:
    held = {name: tensor.clone() for name, tensor in inputs.items()}
    try:
        side = torch.cuda.Stream(model.device)  # type: ignore[no-untyped-call]  # torch's own
        side.wait_stream(torch.cuda.current_stream(model.device))
        with torch.cuda.stream(side):
            for _ in range(2):  # libraries choose their kernels and workspaces outside of the capture
                model.call(held)
        torch.cuda.current_stream(model.device).wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        # Of this thread alone: the one that decodes may ask the driver for memory meanwhile.
        with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
            output = model.call(held)
    except RuntimeError:
        log.warning("no CUDA graph for this shape; calling the model as it is", exc_info=True)
        return None
    return Captured(graph, held, output)
