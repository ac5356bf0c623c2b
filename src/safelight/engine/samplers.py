"""The samplers by the names that requests give them: which scheduler of diffusers each is, and its table, kept.

Knows nothing of how a table is read off a scheduler (`tables.py`), or of what is done with it (`update.py`).
"""

from __future__ import annotations

import inspect
import json
import threading
from collections import OrderedDict
from collections.abc import Collection
from typing import Any

import diffusers

from safelight.engine.flow import FLOW, Schedule, flows, options
from safelight.engine.generation import Generation, Spacing
from safelight.engine.tables import PLAIN, Scheduler, Start, Table, compile_table
from safelight.errors import Invalid


class Samplers:
    """Compiles tables and keeps the latest. May be asked from any thread."""

    def __init__(self, keep: int = 512) -> None:
        self._tables: OrderedDict[tuple[object, ...], Table] = OrderedDict()
        self._keep = keep
        self._lock = threading.Lock()

    def table(self, own: Scheduler, generation: Generation, schedule: Schedule = PLAIN) -> Table:
        """The table for a generation, on a checkpoint whose own scheduler is ``own``."""
        config = json.dumps(dict(own.config), sort_keys=True, default=str)
        choice = (generation.sampler, generation.spacing, generation.algorithm_type)
        key = (type(own).__name__, config, *choice, generation.steps, Start.of(generation), schedule)
        table = self._tables.get(key)
        if table is None:
            table = compile_table(configure(own, *choice), generation.steps, Start.of(generation), schedule)
        with self._lock:
            self._tables[key] = table
            self._tables.move_to_end(key)
            if len(self._tables) > self._keep:
                self._tables.popitem(last=False)
        return table


def canonical(name: str) -> str:
    """``DDIMScheduler`` and ``DDIM`` are one sampler; an unknown or refused name is told apart here."""
    short = name.removesuffix("Scheduler")
    if short in REFUSED:
        raise Invalid("sampler", f"{short} is not offered: {REFUSED[short]}")
    if short not in (*SAMPLERS, FLOW):
        raise Invalid("sampler", f"must be one of {', '.join(SAMPLERS)}")
    return short


def configure(
    own: Scheduler, name: str | None, spacing: Spacing = Spacing.default, algorithm_type: str | None = None
) -> Scheduler:
    """A fresh scheduler of that name with the checkpoint's betas and prediction type, and the options asked for."""
    short = canonical(name or type(own).__name__)
    if flows(own):
        return _flowing(own, short, spacing, algorithm_type)
    if short == FLOW:
        raise Invalid("sampler", f"{short} is only for checkpoints that predict a flow, and this one does not")
    scheduler_class = SAMPLERS[short]
    known = inspect.signature(scheduler_class.__init__).parameters
    changes: dict[str, object] = {option: False for option in _NEVER_CLIP if option in known}
    changes |= _spaced(short, spacing, known)
    if algorithm_type is not None:
        changes |= _algorithm(short, algorithm_type)
    config = {key: value for key, value in own.config.items() if key in known or key.startswith("_")}
    return scheduler_class.from_config(config, **changes)


def _flowing(own: Scheduler, name: str, spacing: Spacing, algorithm_type: str | None) -> Scheduler:
    changes = options(name) | _spaced(name, spacing, inspect.signature(type(own).__init__).parameters)
    if algorithm_type is not None:
        changes |= _algorithm(name, algorithm_type)
    return type(own).from_config(own.config, **changes)


def _spaced(name: str, spacing: Spacing, known: Collection[str]) -> dict[str, object]:
    if spacing == Spacing.default:
        return {}
    if f"use_{spacing}_sigmas" not in known:
        raise Invalid("spacing", f"{spacing} is not possible with the sampler {name}")
    return {f"use_{other}_sigmas": other == spacing for other in Spacing if f"use_{other}_sigmas" in known}


def _algorithm(name: str, algorithm_type: str) -> dict[str, object]:
    if algorithm_type not in ALGORITHM_TYPES.get(name, ()):
        raise Invalid("algorithm_type", f"{algorithm_type} is not possible with the sampler {name}")
    if algorithm_type.endswith("dpmsolver"):  # the noise-predicting forms cannot step to a sigma of zero
        return {"algorithm_type": algorithm_type, "final_sigmas_type": "sigma_min"}
    return {"algorithm_type": algorithm_type}


_NEVER_CLIP = ("clip_sample", "thresholding")  # meant for pixels; the diffusers pipelines for latents turn it off too

SAMPLERS: dict[str, Any] = {
    "DDPM": diffusers.DDPMScheduler,
    "DDIM": diffusers.DDIMScheduler,
    "PNDM": diffusers.PNDMScheduler,
    "LMSDiscrete": diffusers.LMSDiscreteScheduler,
    "EulerDiscrete": diffusers.EulerDiscreteScheduler,
    "EulerAncestralDiscrete": diffusers.EulerAncestralDiscreteScheduler,
    "DPMSolverMultistep": diffusers.DPMSolverMultistepScheduler,
    "HeunDiscrete": diffusers.HeunDiscreteScheduler,
    "KDPM2Discrete": diffusers.KDPM2DiscreteScheduler,
    "DPMSolverSinglestep": diffusers.DPMSolverSinglestepScheduler,
    "KDPM2AncestralDiscrete": diffusers.KDPM2AncestralDiscreteScheduler,
    "UniPCMultistep": diffusers.UniPCMultistepScheduler,
    "DDIMInverse": diffusers.DDIMInverseScheduler,
    "DEISMultistep": diffusers.DEISMultistepScheduler,
    "IPNDM": diffusers.IPNDMScheduler,
    "LCM": diffusers.LCMScheduler,
}

REFUSED: dict[str, str] = {
    "KarrasVe": "it changes the noise level of its own input, which the diffusers pipelines do not support either",
    "ScoreSdeVe": "its corrector divides by the norm of the model's output, so it is not linear",
}

ALGORITHM_TYPES: dict[str, tuple[str, ...]] = {
    "DPMSolverMultistep": ("dpmsolver", "dpmsolver++", "sde-dpmsolver", "sde-dpmsolver++"),
    "DPMSolverSinglestep": ("dpmsolver", "dpmsolver++", "sde-dpmsolver++"),
    "DEISMultistep": ("deis",),
}
