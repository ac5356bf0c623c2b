"""The modules a checkpoint is made of, built from the classes that its family lists and from no others.

A checkpoint names classes; tables decide whether that name is one we run. Nothing is imported by name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import diffusers
import torch
from diffusers import SchedulerMixin
from torch import Tensor, nn
from transformers import PreTrainedModel

from safelight.engine.families.family import Family, Parts
from safelight.engine.weights import Config, Weights
from safelight.errors import EngineFailed


@dataclass(frozen=True, slots=True)
class Components:
    """One checkpoint on the CPU in float32 or the files' own dtype, its kind, and how it wants to be sampled."""

    family: type[Family]
    parts: Parts
    scheduler_class: type[SchedulerMixin]
    scheduler_config: Config
    notes: Config  # the checkpoint's own safelight.json


def build(kind: Any, config: Config, find: Callable[[str], Tensor | None]) -> nn.Module:
    """A module of an allowed class; ``find`` gives the weight of each name that the class asks for."""
    try:
        with torch.device("meta"):
            module: nn.Module = _construct(kind, config)
        found = {name: find(name) for name in module.state_dict()}
        if missing := [name for name, tensor in found.items() if tensor is None]:
            raise EngineFailed(f"The checkpoint lacks {len(missing)} weights, {missing[0]} for one")
        module.load_state_dict(found, assign=True)
    except (RuntimeError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
        raise EngineFailed("The checkpoint does not describe modules that its weights fit") from error
    _restore_positions(module)
    return module.requires_grad_(False).eval()


def _construct(kind: Any, config: Config) -> Any:
    if isinstance(kind, type) and issubclass(kind, PreTrainedModel):
        return kind(kind.config_class(**config))  # type: ignore[attr-defined]  # transformers' own, untyped here
    return kind.from_config(config)  # diffusers' way in


def find_in(weights: Weights) -> Callable[[str], Tensor | None]:
    """Weights by name, or by the names that older files give the VAE's attention and the root of the text model."""

    def find(name: str) -> Tensor | None:
        older = (name.replace(now, then) for now, then in OLDER.items())
        return next((weights[known] for known in (name, *older, f"text_model.{name}") if known in weights), None)

    return find


def _restore_positions(module: nn.Module) -> None:
    """Position ids are not stored; they are the one buffer that a module built without memory still lacks."""
    for part in module.modules():
        ids = getattr(part, "position_ids", None)
        if isinstance(ids, Tensor) and ids.is_meta:
            part.position_ids = torch.arange(ids.shape[-1]).expand(1, -1)


def scheduler_class(name: str) -> type[SchedulerMixin]:
    if name not in SCHEDULERS:
        raise EngineFailed(f"The checkpoint's scheduler is of a class that Safelight does not run: {name!r}")
    return SCHEDULERS[name]


SCHEDULERS: dict[str, type[SchedulerMixin]] = {
    kind.__name__: kind
    for kind in (
        diffusers.DDIMScheduler,
        diffusers.DDPMScheduler,
        diffusers.DEISMultistepScheduler,
        diffusers.DPMSolverMultistepScheduler,
        diffusers.DPMSolverSinglestepScheduler,
        diffusers.EulerAncestralDiscreteScheduler,
        diffusers.EulerDiscreteScheduler,
        diffusers.FlowMatchEulerDiscreteScheduler,
        diffusers.HeunDiscreteScheduler,
        diffusers.IPNDMScheduler,
        diffusers.KDPM2AncestralDiscreteScheduler,
        diffusers.KDPM2DiscreteScheduler,
        diffusers.LCMScheduler,
        diffusers.LMSDiscreteScheduler,
        diffusers.PNDMScheduler,
        diffusers.TCDScheduler,
        diffusers.UniPCMultistepScheduler,
    )
}
OLDER = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value.", ".to_out.0.": ".proj_attn."}
