"""The modules a checkpoint is made of, built from the classes that its family lists and from no others.

A checkpoint names classes; tables decide whether that name is one we run. Nothing is imported by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import diffusers
import torch
from diffusers import SchedulerMixin
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from transformers import PreTrainedModel

from safelight.engine.families.family import Family, Parts
from safelight.engine.weights import Config
from safelight.errors import EngineFailed

Weight = TypeVar("Weight")

MISFITS = (RuntimeError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError, AssertionError)


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
        outlined = outline(kind, config)
        # Names of a weight that rests under another.
        tied: Mapping[str, str] = getattr(outlined, "all_tied_weights_keys", {})
        found = {name: _first(find, name, tied.get(name)) for name in outlined.state_dict()}
        if missing := [name for name, tensor in found.items() if tensor is None]:
            raise EngineFailed(f"The checkpoint lacks {len(missing)} weights, {missing[0]} for one")
        outlined.load_state_dict(found, assign=True)
        with _Weightless():  # now that what it describes is known to be no larger than its weights
            module: nn.Module = _construct(kind, config)
        module.load_state_dict(found, assign=True)
        if isinstance(module, PreTrainedModel):
            module.tie_weights()  # a weight of two names is one, also when it is moved to a device
    except MISFITS as error:
        raise EngineFailed("The checkpoint does not describe modules that its weights fit") from error
    return module.requires_grad_(False).eval()


def _first(find: Callable[[str], Tensor | None], *names: str | None) -> Tensor | None:
    return next((tensor for name in names if name and (tensor := find(name)) is not None), None)


def outline(kind: Any, config: Config) -> nn.Module:
    """The module that a configuration describes, without memory for its weights."""
    try:
        with torch.device("meta"):
            module: nn.Module = _construct(kind, config)
    except MISFITS as error:
        raise EngineFailed("The checkpoint does not describe modules that its weights fit") from error
    return module


def _construct(kind: Any, config: Config) -> Any:
    if isinstance(kind, type) and issubclass(kind, PreTrainedModel):
        return kind(kind.config_class(**config))  # type: ignore[attr-defined]  # transformers' own, untyped here
    return kind.from_config(config)  # diffusers' way in


def find_in(weights: Mapping[str, Weight]) -> Callable[[str], Weight | None]:
    """Weights by name, or by the names that other versions of the libraries give or gave them."""

    def find(name: str) -> Weight | None:
        other = (name.replace(now, then) for now, then in OTHER.items() if now in name)
        known = (name, *other, f"text_model.{name}", f"model.{name}")
        return next((weights[known] for known in known if known in weights), None)

    return find


class _Weightless(TorchFunctionMode):
    """While active, whatever is to hold weights takes no memory; what a module computes for itself is computed."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}) | ({"device": "meta"} if func is torch.empty else {}))


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
OTHER = {
    ".to_q.": ".query.",
    ".to_k.": ".key.",
    ".to_v.": ".value.",
    ".to_out.0.": ".proj_attn.",
    ".attention.q_proj.": ".attention.attention.query.",
    ".attention.k_proj.": ".attention.attention.key.",
    ".attention.v_proj.": ".attention.attention.value.",
    ".attention.o_proj.": ".attention.output.dense.",
    "encoder.embed_tokens.": "shared.",
    "model.language_model.": "model.",
    "model.visual.": "visual.",
    "lm_head.": "model.language_model.embed_tokens.",
}
