"""Random checkpoints of true sizes, for speed alone: dense arithmetic does not ask what the numbers mean."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import torch
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from safelight.engine.clip_vocabulary import END, clip_tokenizer

NOISE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
SIDES = {"small": 128, "sd15": 512, "sdxl": 1024}


def write(architecture: str, folder: Path, dtype: torch.dtype) -> Path:
    """A diffusers folder. ``small`` is of the bundled checkpoint's size."""
    torch.manual_seed(0)
    pipeline = {"small": _small, "sd15": _sd15, "sdxl": _sdxl}[architecture]()
    pipeline.to(dtype).save_pretrained(folder)
    return folder


def _small() -> Any:
    return _sd1(
        _unet(
            sample_size=16,
            block_out_channels=(64, 128, 160),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            layers_per_block=1,
            cross_attention_dim=128,
            attention_head_dim=4,
            norm_num_groups=8,
        ),
        _vae((16, 48, 96, 96), layers_per_block=1, norm_num_groups=4),
        CLIPTextModel(_text(128, 3, 4, "quick_gelu")),
    )


def _sd15() -> Any:
    unet = _unet(
        sample_size=64, cross_attention_dim=768, attention_head_dim=8
    )  # the class's own defaults are Stable Diffusion 1's
    return _sd1(unet, _vae((128, 256, 512, 512)), CLIPTextModel(_text(768, 12, 12, "quick_gelu")))


def _sd1(unet: Any, vae: Any, text_encoder: Any) -> Any:
    return diffusers.StableDiffusionPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=clip_tokenizer(END),
        unet=unet,
        scheduler=diffusers.PNDMScheduler(**NOISE, skip_prk_steps=True, set_alpha_to_one=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def _sdxl() -> Any:
    unet = _unet(
        sample_size=128,
        block_out_channels=(320, 640, 1280),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 2, 10),
        attention_head_dim=(5, 10, 20),
        use_linear_projection=True,
        cross_attention_dim=2048,
        addition_embed_type="text_time",
        addition_time_embed_dim=256,
        projection_class_embeddings_input_dim=2816,
    )
    return diffusers.StableDiffusionXLPipeline(
        vae=_vae((128, 256, 512, 512), scaling_factor=0.13025),
        text_encoder=CLIPTextModel(_text(768, 12, 12, "quick_gelu")),
        text_encoder_2=CLIPTextModelWithProjection(_text(1280, 32, 20, "gelu", projection_dim=1280)),
        tokenizer=clip_tokenizer(END),
        tokenizer_2=clip_tokenizer("!"),
        unet=unet,
        scheduler=diffusers.EulerDiscreteScheduler(**NOISE, timestep_spacing="leading"),
    )


def _unet(**config: Any) -> Any:
    return diffusers.UNet2DConditionModel(**config)


def _vae(channels: tuple[int, ...], **config: Any) -> Any:
    return diffusers.AutoencoderKL(
        block_out_channels=channels,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        **({"layers_per_block": 2} | config),
    )


def _text(width: int, layers: int, heads: int, activation: str, **config: Any) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=49408,
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        hidden_act=activation,
        bos_token_id=49406,
        eos_token_id=49407,
        **config,
    )
