"""Small random checkpoints of the true architectures, written in the true file layouts. No network, no real weights."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    DDIMScheduler,
    EulerDiscreteScheduler,
    PNDMScheduler,
    StableDiffusionDepth2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionInstructPix2PixPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    DPTConfig,
    DPTForDepthEstimation,
)
from transformers.models.dpt.image_processing_pil_dpt import DPTImageProcessorPil

from safelight.engine import compvis
from safelight.engine.clip_vocabulary import byte_letters, clip_tokenizer

Part = TypeVar("Part")

SD_NOISE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
PARTS = ("unet", "vae", "text_encoder", "text_encoder_2")
MERGES = ["c a", "ca t</w>", "d o", "do g</w>", "a t", "o f</w>", "r e", "re d</w>"]


def write_tokenizer(folder: Path, pad: str = "<|endoftext|>", clip: bool = False) -> CLIPTokenizer:
    """A byte-level BPE tokenizer of CLIP's kind with eight merges, in CLIP's two files; or CLIP's own."""
    folder.mkdir(parents=True, exist_ok=True)
    if clip:
        clip_tokenizer(pad).save_pretrained(folder)
        return clip_tokenizer(pad)
    letters = list(byte_letters().values())
    words = [*letters, *(letter + "</w>" for letter in letters), *(pair.replace(" ", "") for pair in MERGES)]
    vocabulary = {word: i for i, word in enumerate([*words, "<|startoftext|>", "<|endoftext|>"])}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *MERGES]) + "\n")
    end = "<|endoftext|>"
    special = {"bos_token": "<|startoftext|>", "eos_token": end, "unk_token": end, "pad_token": pad}
    config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "do_lower_case": True, **special}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "special_tokens_map.json").write_text(json.dumps(special))
    return CLIPTokenizer.from_pretrained(folder, local_files_only=True)


def seeded(kind: Callable[..., Part], seed: int, *args: Any, **config: Any) -> Part:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return kind(*args, **config)


def vae(seed: int, scaling_factor: float = 0.18215, **config: Any) -> AutoencoderKL:
    usual = {
        "block_out_channels": (32, 32, 32, 32),
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "layers_per_block": 1,
        "latent_channels": 4,
        "sample_size": 64,
        "scaling_factor": scaling_factor,
    }
    return seeded(AutoencoderKL, seed, **(usual | config))


def unet(seed: int, **config: Any) -> UNet2DConditionModel:
    usual = {
        "block_out_channels": (32, 64),
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "layers_per_block": 2,
        "cross_attention_dim": 64,
        "attention_head_dim": 8,
        "sample_size": 8,
    }
    return seeded(UNet2DConditionModel, seed, **(usual | config))


def text_config(tokenizer: CLIPTokenizer, **config: Any) -> CLIPTextConfig:
    usual = {
        "vocab_size": len(tokenizer),
        "hidden_size": 64,  # one head of 64, CLIP's width
        "intermediate_size": 128,
        "num_hidden_layers": 3,
        "num_attention_heads": 1,
        "max_position_embeddings": 77,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "projection_dim": 64,
    }
    return CLIPTextConfig(**(usual | config))


def _write_as_sd1(pipeline: Any, folder: Path, seed: int, clip: bool, in_channels: int = 4) -> Path:
    tokenizer = write_tokenizer(folder / "tokenizer", clip=clip)
    pipeline(
        vae=vae(seed),
        text_encoder=seeded(CLIPTextModel, seed, text_config(tokenizer)),
        tokenizer=tokenizer,
        unet=unet(seed, in_channels=in_channels),
        scheduler=PNDMScheduler(**SD_NOISE, skip_prk_steps=True, set_alpha_to_one=False, steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)
    return folder


def write_sd1(folder: Path, seed: int = 0, native_size: int | None = None, clip: bool = False) -> Path:
    """Stable Diffusion 1.x: one text encoder, eight heads, epsilon prediction, a PNDM scheduler."""
    _write_as_sd1(StableDiffusionPipeline, folder, seed, clip)
    if native_size:
        (folder / "safelight.json").write_text(json.dumps({"native_size": native_size}))
    return folder


def write_sd1_inpaint(folder: Path, seed: int = 0, clip: bool = False) -> Path:
    """An inpainting checkpoint: the UNet also reads the mask and the masked picture, nine channels in all."""
    return _write_as_sd1(StableDiffusionInpaintPipeline, folder, seed, clip, in_channels=9)


def write_pix2pix(folder: Path, seed: int = 0, clip: bool = False) -> Path:
    """InstructPix2Pix: the UNet also reads the picture that is to be edited, eight channels in all."""
    return _write_as_sd1(StableDiffusionInstructPix2PixPipeline, folder, seed, clip, in_channels=8)


def write_depth(folder: Path, seed: int = 0, clip: bool = False) -> Path:
    """Stable Diffusion 2 Depth: five channels, of which a hybrid DPT (a BiT's features, then a ViT) makes the last."""
    tokenizer = write_tokenizer(folder / "tokenizer", pad="!", clip=clip)
    StableDiffusionDepth2ImgPipeline(
        vae=vae(seed),
        text_encoder=seeded(CLIPTextModel, seed, text_config(tokenizer, hidden_act="gelu")),
        tokenizer=tokenizer,
        unet=unet(seed, in_channels=5, block_out_channels=(64, 128), attention_head_dim=(1, 2)),
        scheduler=PNDMScheduler(**SD_NOISE, skip_prk_steps=True, set_alpha_to_one=False, steps_offset=1),
        depth_estimator=seeded(DPTForDepthEstimation, seed, dpt_config()),
        feature_extractor=DPTImageProcessorPil(size={"height": 32, "width": 32}),
    ).save_pretrained(folder)
    return folder


def dpt_config() -> DPTConfig:
    bit = {
        "model_type": "bit",
        "global_padding": "same",
        "layer_type": "bottleneck",
        "depths": [1, 1, 1],
        "num_groups": 8,
    }
    bit |= {"embedding_size": 16, "hidden_sizes": [16, 32, 32], "out_features": ["stage1", "stage2", "stage3"]}
    return DPTConfig(
        is_hybrid=True,
        backbone_config=bit | {"embedding_dynamic_padding": True},
        backbone_featmap_shape=[1, 32, 2, 2],
        image_size=32,
        patch_size=16,
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=32,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[16, 32, 32, 32],
        neck_ignore_stages=[0, 1],
        fusion_hidden_size=16,
        readout_type="project",
    )


def write_sd2(folder: Path, seed: int = 0, clip: bool = False) -> Path:
    """Stable Diffusion 2.x at 768: OpenCLIP's penultimate layer, 64-wide heads, linear projections, v-prediction."""
    tokenizer = write_tokenizer(folder / "tokenizer", pad="!", clip=clip)
    StableDiffusionPipeline(
        vae=vae(seed),
        text_encoder=seeded(CLIPTextModel, seed, text_config(tokenizer, hidden_act="gelu")),
        tokenizer=tokenizer,
        unet=unet(seed, block_out_channels=(64, 128), attention_head_dim=(1, 2), use_linear_projection=True),
        scheduler=DDIMScheduler(
            **SD_NOISE, prediction_type="v_prediction", clip_sample=False, set_alpha_to_one=False, steps_offset=1
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)
    return folder


def write_sdxl(folder: Path, seed: int = 0, clip: bool = False) -> Path:
    """SDXL: two text encoders, pooled text and size as further conditions, deeper transformers at the lower level."""
    tokenizer = write_tokenizer(folder / "tokenizer", clip=clip)
    tokenizer_2 = write_tokenizer(folder / "tokenizer_2", pad="!", clip=clip)
    StableDiffusionXLPipeline(
        vae=vae(seed, scaling_factor=0.13025),
        text_encoder=seeded(CLIPTextModel, seed, text_config(tokenizer)),
        text_encoder_2=seeded(
            CLIPTextModelWithProjection, seed, text_config(tokenizer_2, hidden_act="gelu", projection_dim=64)
        ),
        tokenizer=tokenizer,
        tokenizer_2=tokenizer_2,
        unet=unet(
            seed,
            block_out_channels=(64, 128),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            attention_head_dim=(1, 2),
            transformer_layers_per_block=(1, 2),
            use_linear_projection=True,
            cross_attention_dim=128,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=64 + 6 * 8,
        ),
        scheduler=EulerDiscreteScheduler(**SD_NOISE, steps_offset=1, timestep_spacing="leading"),
    ).save_pretrained(folder)
    return folder


def write_single_file(path: Path, folder: Path) -> Path:
    """The checkpoint of a folder (made with CLIP's vocabulary) as one file in the original layout."""
    parts = {name: load_file(file) for name in PARTS if (file := _weight_file(folder / name)).exists()}
    unet_config = json.loads((folder / "unet" / "config.json").read_text())
    tensors = {
        f"model.diffusion_model.{compvis.unet_name(name, unet_config)}": tensor
        for name, tensor in parts["unet"].items()
    }
    tensors |= {f"first_stage_model.{name}": tensor for name, tensor in vae_tensors(parts["vae"]).items()}
    sdxl, open_clip = "text_encoder_2" in parts, unet_config["use_linear_projection"]
    if sdxl:
        tensors |= _clip_tensors("conditioner.embedders.0.transformer.", parts["text_encoder"])
        tensors |= _open_clip_tensors("conditioner.embedders.1.model.", parts["text_encoder_2"])
    elif open_clip:
        tensors |= _open_clip_tensors("cond_stage_model.model.", _with_unused_layer(parts["text_encoder"]))
    else:
        tensors |= _clip_tensors("cond_stage_model.transformer.", parts["text_encoder"])
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    return path


def vae_tensors(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """An autoencoder's weights in the original layout."""
    return {compvis.vae_name(name, 4): _conv(name, weight).contiguous() for name, weight in weights.items()}


def _weight_file(folder: Path) -> Path:
    return folder / ("model.safetensors" if folder.name.startswith("text") else "diffusion_pytorch_model.safetensors")


def _conv(name: str, tensor: Tensor) -> Tensor:
    """The original autoencoder's attention is made of 1x1 convolutions."""
    linear = ".attentions." in name and tensor.ndim == 2
    return tensor[:, :, None, None] if linear else tensor


def _clip_tensors(prefix: str, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    named = {f"{prefix}text_model.{name.removeprefix('text_model.')}": tensor for name, tensor in weights.items()}
    return named | {f"{prefix}text_model.embeddings.position_ids": torch.arange(77)[None]}


def _open_clip_tensors(prefix: str, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    kept = {name: _open_clip_tensor(name, weights) for name in weights if not re.search("[kv]_proj", name)}
    return {prefix + compvis.open_clip_name(name): tensor for name, tensor in kept.items()}


def _open_clip_tensor(name: str, weights: dict[str, Tensor]) -> Tensor:
    """OpenCLIP keeps q, k and v in one tensor, and multiplies by the projection from the other side."""
    if "q_proj" in name:
        return torch.cat([weights[name.replace("q_proj", f"{letter}_proj")] for letter in "qkv"])
    return weights[name].T if "text_projection" in name else weights[name]


def _with_unused_layer(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Stable Diffusion 2 ships OpenCLIP's last layer too and never runs it."""
    last = {
        name.replace("layers.2.", "layers.3."): tensor + 1 for name, tensor in weights.items() if "layers.2." in name
    }
    return weights | last


def lora_pairs(module: nn.Module, parts: str, rank: int, seed: int) -> dict[str, tuple[Tensor, Tensor]]:
    """Random low-rank pairs for every linear or convolutional part whose path matches."""
    dice = torch.Generator().manual_seed(seed)
    pairs = {}
    for path, part in module.named_modules():
        if isinstance(part, nn.Linear | nn.Conv2d) and re.search(parts, path):
            out_size, in_size, *kernel = part.weight.shape
            down = torch.randn(rank, in_size, *kernel, generator=dice) * 0.1
            up = torch.randn(out_size, rank, *(1 for _ in kernel), generator=dice) * 0.1
            pairs[path] = down, up
    return pairs


def write_kohya_lora(path: Path, parts: dict[str, dict[str, tuple[Tensor, Tensor]]], alpha: float | None = 2.0) -> Path:
    """kohya's layout; ``parts`` by prefix (lora_unet, lora_te, lora_te1, lora_te2), then by the name of the module."""
    tensors = {}
    for prefix, pairs in parts.items():
        for name, (down, up) in pairs.items():
            key = f"{prefix}_{name.replace('.', '_')}"
            tensors[f"{key}.lora_down.weight"] = down
            tensors[f"{key}.lora_up.weight"] = up
            if alpha is not None:
                tensors[f"{key}.alpha"] = torch.tensor(alpha)
    save_file(tensors, path)
    return path


def write_diffusers_lora(path: Path, parts: dict[str, dict[str, tuple[Tensor, Tensor]]], style: str = "peft") -> Path:
    """diffusers' layouts; ``parts`` by component, then by module path."""
    tensors = {
        f"{component}.{name}{half}": tensor
        for component, pairs in parts.items()
        for name, pair in pairs.items()
        for half, tensor in zip(_halves(style, component), pair, strict=True)
    }
    save_file(tensors, path)
    return path


def _halves(style: str, component: str) -> tuple[str, str]:
    if style == "peft":
        return ".lora_A.weight", ".lora_B.weight"
    middle = "lora" if component == "unet" else "lora_linear_layer"
    return f".{middle}.down.weight", f".{middle}.up.weight"


def write_controlnet(folder: Path, checkpoint: Path, seed: int = 0) -> Path:
    """A ControlNet for the UNet of a checkpoint, none of whose layers is still zero as before training."""
    steered: Any = UNet2DConditionModel.from_pretrained(checkpoint, subfolder="unet")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network: Any = ControlNetModel.from_unet(steered)
        for weight in network.parameters():
            if not weight.any():
                nn.init.normal_(weight, std=0.05)
    network.save_pretrained(folder)
    return folder


def write_controlnet_file(path: Path, folder: Path, prefix: str = "control_model.") -> Path:
    """The ControlNet of a folder as one file in the original layout."""
    config = json.loads((folder / "config.json").read_text())
    tensors = load_file(folder / "diffusion_pytorch_model.safetensors")
    save_file({prefix + compvis.controlnet_name(name, config): tensor for name, tensor in tensors.items()}, path)
    return path
