"""How many rows a call should hold at most, per device, checkpoint and size: timed once, then remembered in a file.

More rows are worth having while they give clearly more of them a second: a lone request pays for all. The answer fixes
the shape of every call in exact mode, so it is kept: the next start of the program must not find another.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable
from pathlib import Path

import torch

from safelight.engine.model import Model
from safelight.engine.plan import Bucket

RUNGS = (2, 4, 8, 16, 32)  # a guided picture is two rows
WORTH = 1.2  # twice the rows must give this much more of them a second
PATIENCE = 20.0  # seconds of timing after which the best so far is taken


class Rows:
    """The cap of each bucket. ``limit`` is a fixed answer; ``path`` is where measured ones are remembered."""

    def __init__(self, limit: int | None = None, path: Path | None = None) -> None:
        self._limit = limit
        self._path = path
        self._known: dict[str, int] = json.loads(path.read_text()) if path and path.exists() else {}

    @property
    def usual(self) -> int:
        """For a prediction: the smallest in use."""
        return self._limit or min(self._known.values(), default=2)

    def cap(self, bucket: Bucket, model: Model) -> int:
        if self._limit is not None:
            return self._limit
        key = f"{device_name(model.device)} | {bucket.model} | {model.dtype} | {bucket.height}x{bucket.width}"
        if key not in self._known:
            self._known[key] = probe(lambda rows: time_call(model, bucket, rows))
            self._save()
        return self._known[key]

    def _save(self) -> None:
        if self._path is None:
            return
        draft = self._path.with_suffix(".draft")
        draft.write_text(json.dumps(self._known, indent=1, sort_keys=True))
        draft.replace(self._path)


def probe(seconds: Callable[[int], float]) -> int:
    """Up the rungs until one is no longer worth it."""
    best, best_rate, spent = RUNGS[0], 0.0, 0.0
    for rows in RUNGS:
        taken = seconds(rows)
        spent += taken
        if rows / taken < WORTH * best_rate:
            return best
        best, best_rate = rows, rows / taken
        if spent > PATIENCE:
            return best
    return best


def time_call(model: Model, bucket: Bucket, rows: int) -> float:
    """The fastest of three calls, after one that does not count. Out of memory takes for ever."""
    x = torch.randn(rows, model.latent_channels, bucket.height, bucket.width, device=model.device)
    extra_channels = model.unet_channels - model.latent_channels
    extra = x.new_zeros(rows, extra_channels, *x.shape[2:]) if extra_channels else None
    conditioning = model.encode_text([""]) * rows
    times = []
    try:
        for _ in range(4):
            began = time.perf_counter()
            model.denoise(x, torch.full((rows,), 500.0), conditioning, extra).sum().item()
            times.append(time.perf_counter() - began)
    except torch.OutOfMemoryError:
        return float("inf")
    return min(times[1:])


def device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} {torch.get_num_threads()} threads"
