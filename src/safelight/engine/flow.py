"""Schedulers of models that predict a flow from noise to picture: their names, and how they are asked for timesteps.

There is one, Euler's method; with fresh noise at each step it is its ancestral form. What requests name for models that
predict noise is mapped to these where it is the same method, and refused by name where it is another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from diffusers import FlowMatchEulerDiscreteScheduler

from safelight.errors import Invalid

Scheduler = Any

FLOW = "FlowMatchEulerDiscrete"
SAME: dict[str, dict[str, object]] = {  # names for other models -> what they are here
    "EulerDiscrete": {},
    "DDIM": {},
    "EulerAncestralDiscrete": {"stochastic_sampling": True},
}


@dataclass(frozen=True, slots=True)
class Schedule:
    """How a family's pipelines ask a scheduler for its timesteps."""

    even: bool = False  # sigmas evenly from 1 down to 1 / steps, instead of the scheduler's own
    tokens: int | None = None  # of the picture, for schedulers that shift by its size


def flows(scheduler: Scheduler) -> bool:
    return isinstance(scheduler, FlowMatchEulerDiscreteScheduler)


def options(name: str) -> dict[str, object]:
    """What a checkpoint's own flow scheduler is changed by, for a sampler of this name."""
    if name == FLOW:
        return {}
    if name not in SAME:
        possible = ", ".join((FLOW, *SAME))
        raise Invalid(
            "sampler", f"{name} is not for checkpoints that predict a flow, as this one; one of {possible} is"
        )
    return SAME[name]


def timing(scheduler: Scheduler, steps: int, schedule: Schedule) -> dict[str, object]:
    """The arguments, beside the number of steps, by which a scheduler is asked for its timesteps."""
    asked: dict[str, object] = {}
    if schedule.even:
        asked["sigmas"] = np.linspace(1.0, 1 / steps, steps)
    if schedule.tokens is not None and scheduler.config.use_dynamic_shifting:
        asked["mu"] = shift(scheduler.config, schedule.tokens)
    return asked


def shift(config: Any, tokens: int) -> float:
    """More of the steps go to high noise, the larger the picture: on a line through two sizes."""
    slope = (config.max_shift - config.base_shift) / (config.max_image_seq_len - config.base_image_seq_len)
    moved: float = config.base_shift + slope * (tokens - config.base_image_seq_len)
    return moved


def steps_from(scheduler: Scheduler, steps: int, strength: float) -> int:
    """How many steps are left when a picture is entered part-way. The pipelines of the two kinds round to different sides."""
    if flows(scheduler):
        return steps - int(max(steps - min(steps * strength, steps), 0))
    return min(int(steps * strength), steps)
