"""The modules a checkpoint is made of, built from the classes listed here and from no others.

A checkpoint names classes; these tables decide whether that name is one we run. Nothing is imported by name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import diffusers
import torch
from diffusers import AutoencoderKL, SchedulerMixin, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from safelight.engine.weights import Config, Weights
from safelight.errors import EngineFailed

Module = TypeVar("Module", bound=nn.Module)


@dataclass(frozen=True, slots=True)
class TextEncoder:
    """A tokenizer and the CLIP text model that reads its tokens."""

    tokenizer: CLIPTokenizer
    model: CLIPTextModel | CLIPTextModelWithProjection


@dataclass(frozen=True, slots=True)
class Components:
    """The modules of one checkpoint on the CPU in float32 or the file's own dtype, and how it wants to be sampled."""

    unet: UNet2DConditionModel
    vae: AutoencoderKL
    text_encoders: tuple[TextEncoder, ...]
    scheduler_class: type[SchedulerMixin]
    scheduler_config: Config
    notes: Config  # the checkpoint's own safelight.json


def build(kind: Callable[..., Module], config: Config, find: Callable[[str], Tensor | None]) -> Module:
    """A module of an allowed class; ``find`` gives the weight of each name that the class asks for."""
    try:
        with torch.device("meta"):
            module = _construct(kind, config)
        found = {name: find(name) for name in module.state_dict()}
        if missing := [name for name, tensor in found.items() if tensor is None]:
            raise EngineFailed(f"The checkpoint lacks {len(missing)} weights, {missing[0]} for one")
        module.load_state_dict(found, assign=True)
    except (RuntimeError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
        raise EngineFailed("The checkpoint does not describe modules that its weights fit") from error
    _restore_positions(module)
    return module.requires_grad_(False).eval()


def _construct(kind: Callable[..., Module], config: Config) -> Module:
    if kind in (CLIPTextModel, CLIPTextModelWithProjection):
        return kind(CLIPTextConfig(**config))
    module: Module = kind.from_config(config)  # type: ignore[attr-defined]  # diffusers' way in
    return module


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


PIPELINES = {
    f"{family}{task}Pipeline"
    for family in ("StableDiffusion", "StableDiffusionXL")
    for task in ("", "Img2Img", "Inpaint")
}
CLASSES: dict[str, dict[str, Any]] = {
    "unet": {"UNet2DConditionModel": UNet2DConditionModel},
    "vae": {"AutoencoderKL": AutoencoderKL},
    "text_encoder": {"CLIPTextModel": CLIPTextModel},
    "text_encoder_2": {"CLIPTextModelWithProjection": CLIPTextModelWithProjection},
    "tokenizer": {"CLIPTokenizer": CLIPTokenizer, "CLIPTokenizerFast": CLIPTokenizer},
    "tokenizer_2": {"CLIPTokenizer": CLIPTokenizer, "CLIPTokenizerFast": CLIPTokenizer},
}
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
