"""Random checkpoints of true sizes, for speed alone: dense arithmetic does not ask what the numbers mean.

Stable Diffusion here, the transformer families in `flow_architectures.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from safelight.engine.clip_vocabulary import END, clip_tokenizer
from safelight.engine.folder import NOTES

NOISE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
SIDES = {
    "small": 128,
    "sd15": 512,
    "sdxl": 1024,
    "sd35": 1024,
    "flux": 1024,
    "zimage": 1024,
    "qwen": 1024,
    "pixart": 1024,
}
FLOWS = ("sd35", "flux", "zimage", "qwen")  # that predict the way from noise to picture
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Size:
    """How much of a true architecture is built: at most ``depth`` layers of each kind, all widths divided by ``narrow``."""

    depth: int | None = None
    narrow: int = 1

    def layers(self, count: int) -> int:
        return min(count, self.depth or count)

    def __str__(self) -> str:
        depth = "" if self.depth is None else f", at most {self.depth} of each kind of layer"
        return ("true width" if self.narrow == 1 else f"1/{self.narrow} of the true width") + depth


WHOLE = Size()


def write(architecture: str, folder: Path, dtype: torch.dtype, size: Size = WHOLE, device: torch.device = CPU) -> Path:
    """A diffusers folder. ``small`` is of the bundled checkpoint's size; weights are drawn on ``device``."""
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with device:
            pipeline = pipeline_of(architecture, size)
    finally:
        torch.set_default_dtype(before)
    pipeline.save_pretrained(folder)
    return folder


def pipeline_of(architecture: str, size: Size) -> Any:
    from benchmarks import flow_architectures as flow  # it builds on this module

    makers: dict[str, Callable[[Size], Any]] = {
        "small": _small, "sd15": _sd15, "sdxl": _sdxl,
        "sd35": flow.sd35, "flux": flow.flux, "zimage": flow.zimage, "qwen": flow.qwen, "pixart": flow.pixart,
    }  # fmt: skip
    return makers[architecture](size)


def native_side(checkpoint: Path) -> int | None:
    """The side at which a checkpoint says that it draws best."""
    notes = checkpoint / NOTES
    side: int | None = json.loads(notes.read_text()).get("native_size") if notes.exists() else None
    return side


def _small(size: Size) -> Any:
    del size
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
        vae((16, 48, 96, 96), layers_per_block=1, norm_num_groups=4),
        CLIPTextModel(clip_config(128, 3, 4, "quick_gelu")),
    )


def _sd15(size: Size) -> Any:
    unet = _unet(
        sample_size=64,
        block_out_channels=tuple(width // size.narrow for width in (320, 640, 1280, 1280)),
        layers_per_block=size.layers(2),
        cross_attention_dim=768 // size.narrow,
        attention_head_dim=8,
        norm_num_groups=max(4, 32 // size.narrow),
    )
    return _sd1(unet, kl(size), CLIPTextModel(clip_l(size)))


def _sd1(unet: Any, autoencoder: Any, text_encoder: Any) -> Any:
    return diffusers.StableDiffusionPipeline(
        vae=autoencoder,
        text_encoder=text_encoder,
        tokenizer=clip_tokenizer(END),
        unet=unet,
        scheduler=diffusers.PNDMScheduler(**NOISE, skip_prk_steps=True, set_alpha_to_one=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def _sdxl(size: Size) -> Any:
    pooled = 1280 // size.narrow
    unet = _unet(
        sample_size=128,
        block_out_channels=tuple(width // size.narrow for width in (320, 640, 1280)),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=size.layers(2),
        transformer_layers_per_block=tuple(size.layers(count) for count in (1, 2, 10)),
        attention_head_dim=(5, 10, 20),
        use_linear_projection=True,
        cross_attention_dim=768 // size.narrow + pooled,
        addition_embed_type="text_time",
        addition_time_embed_dim=256,
        projection_class_embeddings_input_dim=pooled + 6 * 256,
        norm_num_groups=max(4, 32 // size.narrow),
    )
    return diffusers.StableDiffusionXLPipeline(
        vae=kl(size, scaling_factor=0.13025),
        text_encoder=CLIPTextModel(clip_l(size)),
        text_encoder_2=CLIPTextModelWithProjection(clip_g(size)),
        tokenizer=clip_tokenizer(END),
        tokenizer_2=clip_tokenizer("!"),
        unet=unet,
        scheduler=diffusers.EulerDiscreteScheduler(**NOISE, timestep_spacing="leading"),
    )


def _unet(**config: Any) -> Any:
    return diffusers.UNet2DConditionModel(**config)


def kl(size: Size, **config: Any) -> Any:
    """The autoencoder that all of them but Qwen-Image have."""
    channels = tuple(width // size.narrow for width in (128, 256, 512, 512))
    return vae(channels, norm_num_groups=max(4, 32 // size.narrow), **config)


def vae(channels: tuple[int, ...], **config: Any) -> Any:
    return diffusers.AutoencoderKL(
        block_out_channels=channels,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        **({"layers_per_block": 2} | config),
    )


def clip_l(size: Size, **config: Any) -> CLIPTextConfig:
    return clip_config(768 // size.narrow, 12, 12, "quick_gelu", **config)


def clip_g(size: Size) -> CLIPTextConfig:
    return clip_config(1280 // size.narrow, size.layers(32), 20, "gelu", projection_dim=1280 // size.narrow)


def clip_config(width: int, layers: int, heads: int, activation: str, **config: Any) -> CLIPTextConfig:
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
