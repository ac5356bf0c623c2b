"""How the original (CompVis, Stability) code names the weights that diffusers names otherwise, part by part.

Single-file checkpoints and LoRAs trained on the original code use these names. Knows nothing of files or shapes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any


def unet_name(name: str, config: Mapping[str, Any]) -> str:  # noqa: PLR0911  # a table of names
    """The original name of a UNet part that diffusers calls ``name``, in a UNet of this configuration."""
    layers: int = config["layers_per_block"]
    stride = layers + 1  # blocks in a level: the layers and a sampler
    match name.split("."):
        case ["conv_in", *rest]:
            return _join("input_blocks.0.0", rest)
        case ["conv_norm_out", *rest]:
            return _join("out.0", rest)
        case ["conv_out", *rest]:
            return _join("out.2", rest)
        case ["time_embedding", linear, *rest]:
            return _join(f"time_embed.{LINEARS[linear]}", rest)
        case ["add_embedding", linear, *rest]:
            return _join(f"label_emb.0.{LINEARS[linear]}", rest)
        case ["down_blocks", level, "resnets" | "attentions" as kind, layer, *rest]:
            return _join(f"input_blocks.{1 + int(level) * stride + int(layer)}.{KINDS[kind]}", _resnet(rest))
        case ["down_blocks", level, "downsamplers", "0", "conv", *rest]:
            return _join(f"input_blocks.{(int(level) + 1) * stride}.0.op", rest)
        case ["mid_block", "resnets" | "attentions" as kind, layer, *rest]:
            return _join(f"middle_block.{2 * int(layer) + KINDS[kind]}", _resnet(rest))
        case ["up_blocks", level, "resnets" | "attentions" as kind, layer, *rest]:
            return _join(f"output_blocks.{int(level) * stride + int(layer)}.{KINDS[kind]}", _resnet(rest))
        case ["up_blocks", level, "upsamplers", "0", "conv", *rest]:
            place = 2 if config["up_block_types"][int(level)].startswith("CrossAttn") else 1
            return _join(f"output_blocks.{int(level) * stride + layers}.{place}.conv", rest)
    return name


def controlnet_name(name: str, config: Mapping[str, Any]) -> str:
    """The original name of a ControlNet part that diffusers calls ``name``; most are those of the UNet beside it."""
    match name.split("."):
        case ["controlnet_cond_embedding", "conv_in", *rest]:
            return _join("input_hint_block.0", rest)
        case ["controlnet_cond_embedding", "blocks", block, *rest]:
            return _join(f"input_hint_block.{2 * int(block) + 2}", rest)
        case ["controlnet_cond_embedding", "conv_out", *rest]:
            return _join("input_hint_block.14", rest)
        case ["controlnet_down_blocks", level, *rest]:
            return _join(f"zero_convs.{level}.0", rest)
        case ["controlnet_mid_block", *rest]:
            return _join("middle_block_out.0", rest)
    return unet_name(name, config)


def vae_name(name: str, levels: int) -> str:  # noqa: PLR0911  # a table of names
    """The original name of an autoencoder part that diffusers calls ``name``."""
    match name.split("."):
        case [coder, "down_blocks", level, *rest]:
            return _join(f"{coder}.down.{level}", _vae_block(rest))
        case [coder, "up_blocks", level, *rest]:
            return _join(f"{coder}.up.{levels - 1 - int(level)}", _vae_block(rest))
        case [coder, "mid_block", "resnets", layer, *rest]:
            return _join(f"{coder}.mid.block_{int(layer) + 1}", _shortcut(rest))
        case [coder, "mid_block", "attentions", "0", "to_out", "0", *rest]:
            return _join(f"{coder}.mid.attn_1.proj_out", rest)
        case [coder, "mid_block", "attentions", "0", part, *rest]:
            return _join(f"{coder}.mid.attn_1.{VAE_ATTENTION[part]}", rest)
        case [coder, "conv_norm_out", *rest]:
            return _join(f"{coder}.norm_out", rest)
    return name


def open_clip_name(name: str) -> str:  # noqa: PLR0911  # a table of names
    """OpenCLIP's name of a text model part that transformers calls ``name``; q, k and v lie in one tensor there."""
    match name.removeprefix("text_model.").split("."):
        case ["embeddings", "token_embedding", "weight"]:
            return "token_embedding.weight"
        case ["embeddings", "position_embedding", "weight"]:
            return "positional_embedding"
        case ["final_layer_norm", *rest]:
            return _join("ln_final", rest)
        case ["encoder", "layers", layer, "self_attn", "q_proj" | "k_proj" | "v_proj", kind]:
            return f"transformer.resblocks.{layer}.attn.in_proj_{kind}"
        case ["encoder", "layers", layer, *rest]:
            inner = ".".join(rest)
            for ours, theirs in OPEN_CLIP.items():
                inner = inner.replace(ours, theirs)
            return f"transformer.resblocks.{layer}.{inner}"
        case ["text_projection", *_]:
            return "text_projection"
    return name


def text_spellings(path: str) -> list[str]:
    """Every name by which a LoRA file may mean a part of a text model."""
    bare = path.removeprefix("text_model.")
    older = re.sub(r"self_attn\.(\w+)_proj", lambda match: f"self_attn.to_{match[1]}", bare)
    return [spelling for name in (bare, older) for spelling in (name, f"text_model.{name}")]


def _join(head: str, rest: list[str]) -> str:
    return ".".join([head, *rest])


def _resnet(rest: list[str]) -> list[str]:
    return [RESNET.get(rest[0], rest[0]), *rest[1:]] if rest else rest


def _vae_block(rest: list[str]) -> list[str]:
    match rest:
        case ["resnets", layer, *inner]:
            return ["block", layer, *_shortcut(inner)]
        case [sampler, "0", *inner]:
            return [sampler.removesuffix("rs"), *inner]
    return rest


def _shortcut(rest: list[str]) -> list[str]:
    return ["nin_shortcut" if part == "conv_shortcut" else part for part in rest]


LINEARS = {"linear_1": 0, "linear_2": 2}
KINDS = {"resnets": 0, "attentions": 1}
RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v"}
OPEN_CLIP = {
    "self_attn.out_proj": "attn.out_proj",
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}
