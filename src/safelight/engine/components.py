"""The modules a checkpoint is made of, built from the classes listed here and from no others.

A checkpoint names classes; these tables decide whether that name is one we run. Nothing is imported by name.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
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


def build(kind: Callable[..., Module], config: Config, weights: Weights) -> Module:
    """A module of an allowed class, holding these weights; weights that it has no place for are left aside."""
    try:
        with torch.device("meta"):
            module = _construct(kind, config)
        wanted = module.state_dict().keys()
        renamed = {_current_name(name, wanted): tensor for name, tensor in weights.items()}
        missing = module.load_state_dict(renamed, strict=False, assign=True).missing_keys
    except (RuntimeError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
        raise EngineFailed(f"The checkpoint does not describe a {kind.__name__} that its weights fit") from error
    if missing:
        raise EngineFailed(f"The checkpoint's {kind.__name__} lacks {len(missing)} weights, {missing[0]} for one")
    _restore_positions(module)
    return module.requires_grad_(False).eval()


def _construct(kind: Callable[..., Module], config: Config) -> Module:
    if kind in (CLIPTextModel, CLIPTextModelWithProjection):
        return kind(CLIPTextConfig(**config))
    module: Module = kind.from_config(config)  # type: ignore[attr-defined]  # diffusers' way in
    return module


def _current_name(name: str, wanted: Collection[str]) -> str:
    """Older files name the parts of the VAE's attention, and the root of the text model, otherwise."""
    for old, new in RENAMES.items():
        if name not in wanted and name.replace(old, new) in wanted:
            return name.replace(old, new)
    return name


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
RENAMES = {
    ".query.": ".to_q.",
    ".key.": ".to_k.",
    ".value.": ".to_v.",
    ".proj_attn.": ".to_out.0.",
    "text_model.": "",
}
