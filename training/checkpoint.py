"""Saving, resuming, averaging of weights, and one line of progress: what every stage needs."""

from __future__ import annotations

import copy
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn


class Average:
    """An exponential moving average of a network's weights, faster at first."""

    def __init__(self, net: nn.Module, decay: float, steps: int = 0) -> None:
        self.net = copy.deepcopy(net).eval().requires_grad_(False)
        self.decay, self.steps = decay, steps

    @torch.no_grad()
    def follow(self, net: nn.Module) -> None:
        self.steps += 1
        keep = min(self.decay, (1 + self.steps) / (10 + self.steps))
        torch._foreach_lerp_(list(self.net.parameters()), [p.detach() for p in net.parameters()], 1 - keep)


def save(path: Path, **parts: Any) -> None:
    """Written beside and moved into place, so that a stop half-way leaves the last good one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".part")
    torch.save(
        {name: part.state_dict() if hasattr(part, "state_dict") else part for name, part in parts.items()}, beside
    )
    beside.replace(path)


def load(path: Path, **parts: Any) -> dict[str, Any]:
    """Fills the given parts from the file; answers the whole of it, or {} where there is none."""
    if not path.exists():
        return {}
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(state[name])
    return state


def report(stage: str, step: int, seconds: float, **numbers: float) -> None:
    words = " ".join(f"{name} {value:.4g}" for name, value in numbers.items())
    print(f"{time.strftime('%H:%M:%S')} {stage} {step} ({seconds:.0f} s) {words}", flush=True)
