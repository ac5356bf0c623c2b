"""How a checkpoint runs best on this CPU: runtime, layout, threads and number type, timed once and remembered in a file.

The plain way (float32, contiguous, every thread) is kept unless another is clearly faster, because the choice decides
the last bits of every picture. CUDA needs no probe: bfloat16 and channels_last.
"""

from __future__ import annotations

import logging
import math
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from safelight.engine.checkpoint import count_weights
from safelight.engine.families.family import Row
from safelight.engine.lone import Lenders
from safelight.engine.memory import memory_of
from safelight.engine.model import Model
from safelight.engine.openvino import installed
from safelight.engine.remembered import Remembered

log = logging.getLogger(__name__)

WORTH = 1.2  # another runtime, layout or thread count must be this much faster
WORTH_LOWER_PRECISION = 2.0
PROBE_SIDE = 32  # of the latents, for checkpoints that draw at any size
REPEATS = 3


@dataclass(frozen=True, slots=True)
class Tuning:
    """One way to run a checkpoint."""

    dtype: str = "float32"
    channels_last: bool = False
    threads: int = 1
    openvino: bool = False

    @property
    def options(self) -> dict[str, Any]:
        """For ``Model.load``."""
        return {
            "dtype": getattr(torch, self.dtype),
            "channels_last": self.channels_last,
            "openvino": self.openvino,
        }


ON_CUDA = Tuning("bfloat16", channels_last=True)


def tuned(
    name: str,
    checkpoint: Path,
    device: torch.device,
    memory: Remembered,
    *,
    threads: int,
    free: bool = True,
    kept: Path | None = None,
    lenders: Lenders | None = None,
) -> Tuning:
    """The remembered answer for this checkpoint on this machine, or a new one after a probe of seconds.

    ``free``: fewer threads than ``threads`` may be chosen. ``kept`` and ``lenders`` are for ``Model.load``.
    """
    if device.type == "cuda":
        return ON_CUDA
    openvino = installed()
    key = f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()} {threads} threads{'' if free else ', no fewer'}"
    key += f" | {f'openvino {openvino}' if openvino else 'torch'} | {name}"

    def find() -> dict[str, Any]:
        log.info("timing how this checkpoint runs best here, once", extra={"model": name})
        native_bf16 = torch.ops.mkldnn._is_mkldnn_bf16_supported()  # noqa: SLF001  # torch's only way to ask
        time_it = partial(time_call, name, checkpoint, kept=kept, lenders=lenders)
        compile_it = bool(openvino) and _room(checkpoint, device, lenders)
        return asdict(choose(time_it, Tuning(threads=threads), native_bf16, compile_it, free=free))

    return Tuning(**memory.recall(key, find))


def _room(checkpoint: Path, device: torch.device, lenders: Lenders | None) -> bool:
    """Whether it may be tried compiled, when denoiser and autoencoder have weights of their own beside torch's."""
    counted = count_weights(checkpoint, lenders)
    numbers = counted.encoders + 2 * (counted.denoiser + counted.autoencoder)
    return numbers * torch.float32.itemsize < memory_of(device).free


def choose(
    seconds: Callable[[Tuning], float], plain: Tuning, native_bf16: bool, openvino: bool, *, free: bool = True
) -> Tuning:
    """One question at a time, each answered on top of the last: runtime, layout, threads, number type."""
    best, took = plain, seconds(plain)
    questions: list[dict[str, Any]] = [{"openvino": True}] * openvino
    questions += [{"channels_last": True}] + [{"threads": max(1, plain.threads // 2)}] * free
    questions += [{"dtype": "bfloat16"}] * native_bf16
    for change in questions:
        if best.openvino and "channels_last" in change:
            continue  # OpenVINO has a layout of its own
        candidate = replace(best, **change)
        worth = WORTH_LOWER_PRECISION if "dtype" in change else WORTH
        if candidate != best and (taken := _attempt(seconds, candidate)) * worth < took:
            best, took = candidate, taken
    return best


def _attempt(seconds: Callable[[Tuning], float], candidate: Tuning) -> float:
    """A way that does not run here is not a fast one."""
    try:
        return seconds(candidate)
    except Exception:  # whatever it was, the plain way is there
        log.warning("this checkpoint does not run like that here", exc_info=True, extra=asdict(candidate))
        return math.inf


def time_call(
    name: str, checkpoint: Path, tuning: Tuning, kept: Path | None = None, lenders: Lenders | None = None
) -> float:
    """The fastest of a few calls on one guided picture, after one that does not count."""
    usual = torch.get_num_threads()
    torch.set_num_threads(tuning.threads)
    try:
        model = Model.load(checkpoint, name, kept=kept, lenders=lenders, **tuning.options)
        family = model.family
        side = PROBE_SIDE * family.autoencoder.side if model.native_size is None else model.native_size
        channels, *sides = family.shape(side, side)
        extra = torch.randn(family.extra_channels, *sides) if family.extra_channels else None
        shown = (torch.randn(channels, *sides),) if family.edits else ()
        rows = [Row(torch.randn(channels, *sides), 500.0, model.encode_text([""])[0], extra, references=shown)] * 2
        times = []
        for _ in range(1 + REPEATS):
            began = time.perf_counter()
            model.denoise(rows)
            times.append(time.perf_counter() - began)
    finally:
        torch.set_num_threads(usual)
    return min(times[1:])
