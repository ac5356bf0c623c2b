"""Saving, resuming, averaging of weights, and one line of progress: what every stage needs."""

from __future__ import annotations

import copy
import math
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


class Run:
    """One stage within a budget of minutes over all calls: goes on from its file, saves into it now and then and at the end.

    Made last before the first step: the budget is for steps alone, so that the smallest is still good for one.
    """

    def __init__(self, path: Path, minutes: float, save_every: float, **parts: Any) -> None:
        state = load(path, **parts)
        self.step: int = state.get("step", 0)
        self._first = self.step
        self._used: float = state.get("used", 0.0)
        self._path, self._parts = path, parts
        self._budget, self._save_every = minutes * 60, save_every
        self._start = self._saved = time.time()

    @property
    def seconds(self) -> float:
        """Over all calls."""
        return self._used + time.time() - self._start

    @property
    def share(self) -> float:
        """Of the budget that is spent."""
        return self.seconds / self._budget

    @property
    def steps_a_second(self) -> float:
        """In this call."""
        return float(self.step - self._first) / (time.time() - self._start)

    def warmth(self, steps: int) -> float:
        """Of the rate: rises to 1 over the first steps."""
        return min(1.0, (self.step + 1) / steps)

    def stepped(self) -> None:
        self.step += 1
        if time.time() - self._saved > self._save_every:
            self._save(self.seconds)
            self._saved = time.time()

    def finish(self, **more: Any) -> None:
        self._save(self._budget, **more)

    def _save(self, used: float, **more: Any) -> None:
        save(self._path, **(self._parts | more), step=self.step, used=used)


def cosine(share: float) -> float:
    """Of the rate: falls from 1 to a fiftieth over the whole budget."""
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * share))


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = rate


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
        if name in state and hasattr(
            part, "load_state_dict"
        ):  # weights that came without an optimiser start with a fresh one
            part.load_state_dict(state[name])
    return state


def spent(path: Path) -> float:
    """The minutes that a stage has run for."""
    return float(load(path).get("used", 0.0)) / 60


def report(stage: str, step: int, seconds: float, **numbers: float) -> None:
    words = " ".join(f"{name} {value:.4g}" for name, value in numbers.items())
    print(f"{time.strftime('%H:%M:%S')} {stage} {step} ({seconds:.0f} s) {words}", flush=True)
