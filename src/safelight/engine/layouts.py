"""How a transformer alone is laid out in a file: which family it is of, and its configuration, told by names and shapes.

Every weight is asked for by diffusers' name, and found under that or under the original code's. Knows nothing of files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count, takewhile
from math import isqrt

import torch
from torch import Tensor

from safelight.engine.families import flux_names, sd3_names, z_image_names
from safelight.engine.families.family import Family
from safelight.engine.families.flux import FILL, Flux, Kontext
from safelight.engine.families.qwen_image import QwenImage
from safelight.engine.families.qwen_image_edit import QwenImageEdit, QwenImageEditPlus
from safelight.engine.families.sd3 import StableDiffusion3
from safelight.engine.families.z_image import ZImage
from safelight.engine.weights import Config, Weights
from safelight.errors import EngineFailed

BEFORE = "model.diffusion_model."  # every name, in files that hold more than the transformer
SWAPPED = "swapped"
CLIP_L, CLIP_G, T5 = (f"text_encoders.{name}.transformer." for name in ("clip_l", "clip_g", "t5xxl"))
PLAIN = 64  # channels that FLUX.1's transformer reads in each token, but for Fill's


class Renamed:
    """A transformer's weights by diffusers' names."""

    def __init__(self, tensors: Weights, original: Callable[[str], str]) -> None:
        before = BEFORE if any(name.startswith(BEFORE) for name in tensors) else ""
        self.tensors = {
            name.removeprefix(before): tensor for name, tensor in tensors.items() if name.startswith(before)
        }
        self._original = original

    def __getitem__(self, name: str) -> Tensor:
        if (found := self.get(name)) is None:
            raise EngineFailed(f"The file is not a whole transformer: it has no {name}")
        return found

    def get(self, name: str) -> Tensor | None:
        if name in self.tensors:
            return self.tensors[name]
        path, _, kind = name.rpartition(".")
        module, _, share = self._original(path).partition("#")
        whole = self._named(module, kind)
        return whole if whole is None or not share else self._share(whole, self._named(module, "weight"), share)

    def count(self, pattern: str) -> int:
        """How many consecutive numbers, from 0, ``pattern`` (with one {}) has weights for."""
        return sum(1 for _ in takewhile(lambda i: self.get(pattern.format(i)) is not None, count()))

    def _named(self, module: str, kind: str) -> Tensor | None:
        names = (".".join(filter(None, (module, word))) for word in (kind, "scale"))
        return next((self.tensors[name] for name in names if name in self.tensors), None)

    @staticmethod
    def _share(whole: Tensor, weight: Tensor | None, share: str) -> Tensor | None:
        """Queries, keys and values are as high as the module is wide; what stands behind them takes the rest."""
        if weight is None or weight.ndim != 2:
            return None
        height, width = weight.shape
        if share == SWAPPED:
            return torch.cat(whole.chunk(2)[::-1]) if height == 2 * width else whole
        place = int(share)
        return whole[place * width : (place + 1) * width if place < 3 else None]


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """One kind of such files."""

    families: tuple[type[Family], ...]  # the first one, unless the operator says that it is another
    original: Callable[[str], str]  # the original name of a module
    mark: str  # a weight that no other kind has
    infer: Callable[[Renamed, Config], Config]  # told also what a folder's transformer says of itself
    inside: Mapping[str, str] = field(
        default_factory=dict
    )  # before the names of text encoders, where a file holds them
    scheduler: Callable[[Config], Config] = lambda _: {}  # what the transformer wants of it, by its configuration


def infer_flux(weights: Renamed, told: Config) -> Config:
    width, channels = weights["x_embedder.weight"].shape
    head = len(weights["transformer_blocks.0.attn.norm_q.weight"])
    if channels not in (PLAIN, FILL):
        raise EngineFailed(f"A FLUX.1 transformer that reads {channels} channels is neither a plain one nor Fill's")
    if sum(told.get("axes_dims_rope", [head])) != head:
        raise EngineFailed("The folder that lends to FLUX.1 has a transformer of another kind than the file's")
    return {
        "in_channels": channels,
        "out_channels": len(weights["proj_out.weight"]),
        "num_layers": weights.count("transformer_blocks.{}.attn.norm_q.weight"),
        "num_single_layers": weights.count("single_transformer_blocks.{}.attn.norm_q.weight"),
        "attention_head_dim": head,
        "num_attention_heads": width // head,
        "joint_attention_dim": weights["context_embedder.weight"].shape[1],
        "pooled_projection_dim": weights["time_text_embed.text_embedder.linear_1.weight"].shape[1],
        "guidance_embeds": weights.get("time_text_embed.guidance_embedder.linear_1.weight") is not None,
    }


def infer_sd3(weights: Renamed, told: Config) -> Config:
    width, channels, patch, _ = weights["pos_embed.proj.weight"].shape
    normed = weights.get("transformer_blocks.0.attn.norm_q.weight")
    head = told.get("attention_head_dim", 64) if normed is None else len(normed)
    layers = weights.count("transformer_blocks.{}.attn.to_q.weight")
    caption, joint = weights["context_embedder.weight"].shape
    return {
        "patch_size": patch,
        "in_channels": channels,
        "out_channels": len(weights["proj_out.weight"]) // patch**2,
        "num_layers": layers,
        "attention_head_dim": head,
        "num_attention_heads": width // head,
        "joint_attention_dim": joint,
        "caption_projection_dim": caption,
        "pooled_projection_dim": weights["time_text_embed.text_embedder.linear_1.weight"].shape[1],
        "pos_embed_max_size": isqrt(weights["pos_embed.pos_embed"].shape[1]),
        "qk_norm": None if normed is None else "rms_norm",
        "dual_attention_layers": [
            i for i in range(layers) if weights.get(f"transformer_blocks.{i}.attn2.to_q.weight") is not None
        ],
    }


def infer_z_image(weights: Renamed, told: Config) -> Config:
    del told
    width, square = weights["all_x_embedder.2-1.weight"].shape
    head = len(weights["layers.0.attention.norm_q.weight"])
    return {
        "in_channels": square // 4,
        "dim": width,
        "n_layers": weights.count("layers.{}.attention.norm_q.weight"),
        "n_refiner_layers": weights.count("noise_refiner.{}.attention.norm_q.weight"),
        "n_heads": width // head,
        "n_kv_heads": len(weights["layers.0.attention.to_k.weight"]) // head,
        "cap_feat_dim": len(weights["cap_embedder.0.weight"]),
    }


def infer_qwen_image(weights: Renamed, told: Config) -> Config:
    width, channels = weights["img_in.weight"].shape
    head = len(weights["transformer_blocks.0.attn.norm_q.weight"])
    if sum(told.get("axes_dims_rope", [head])) != head:
        raise EngineFailed("The folder that lends to Qwen-Image has a transformer of another kind than the file's")
    return {
        "in_channels": channels,
        "out_channels": len(weights["proj_out.weight"]) // told.get("patch_size", 2) ** 2,
        "num_layers": weights.count("transformer_blocks.{}.attn.to_q.weight"),
        "attention_head_dim": head,
        "num_attention_heads": width // head,
        "joint_attention_dim": weights["txt_in.weight"].shape[1],
    }


def flux_scheduler(transformer: Config) -> Config:
    """Schnell's, which is told no guidance, or that of the others."""
    guided = bool(transformer["guidance_embeds"])
    return {"use_dynamic_shifting": guided, "shift": 3.0 if guided else 1.0}


LAYOUTS = (
    Layout(
        (Flux, Kontext),
        flux_names.original_name,
        "single_transformer_blocks.0.attn.norm_q.weight",
        infer_flux,
        {"text_encoder": CLIP_L, "text_encoder_2": T5},
        flux_scheduler,
    ),
    Layout(
        (StableDiffusion3,),
        sd3_names.original_name,
        "pos_embed.pos_embed",
        infer_sd3,
        {"text_encoder": CLIP_L, "text_encoder_2": CLIP_G, "text_encoder_3": T5},
    ),
    Layout((QwenImage, QwenImageEdit, QwenImageEditPlus), str, "txt_norm.weight", infer_qwen_image),
    Layout((ZImage,), z_image_names.original_name, "layers.0.adaLN_modulation.0.weight", infer_z_image),
)
