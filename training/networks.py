"""The four parts of a Stable Diffusion 1.x checkpoint, built small and from random weights.

The only file here that calls diffusers' and transformers' untyped constructors; what it returns is `Any` on purpose.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel

from training.sizes import Size

LENGTH = 77  # tokens that a text encoder of Stable Diffusion 1.x reads
Network = Any


def autoencoder(size: Size) -> Network:
    levels = len(size.autoencoder)
    build: Any = AutoencoderKL
    net = build(
        in_channels=3,
        out_channels=3,
        latent_channels=4,
        block_out_channels=size.autoencoder,
        layers_per_block=1,
        norm_num_groups=size.groups,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        sample_size=size.pixels,
        scaling_factor=1.0,
    )
    start_as_average(net)
    return net


@torch.no_grad()
def start_as_average(net: Network) -> None:
    """Start from the mean colour of each 8x8 cell: the first channels pass through, residual branches begin at nothing.

    From random weights, thousands of steps go into learning to carry colour through; from here every step adds detail.
    """
    for name, part in net.named_modules():
        if isinstance(part, nn.Conv2d):
            if name.endswith("conv2"):
                part.weight.zero_()
            elif name.endswith(("conv_shortcut", "conv_in")) or "samplers" in name:
                pass_through(part, average="downsamplers" in name)
    # little posterior noise at first: unit noise drowns the codes for thousands of steps
    net.quant_conv.weight[4:] *= 0.1
    net.quant_conv.bias[4:] = -5.0


def pass_through(layer: nn.Conv2d, average: bool, channels: int = 4) -> None:
    """Make the layer hand its first channels on unchanged (or averaged 2x2), and leave the others random."""
    count = min(channels, layer.in_channels, layer.out_channels)
    middle = layer.kernel_size[0] // 2
    layer.weight[:count] = 0
    if layer.bias is not None:
        layer.bias[:count] = 0
    for channel in range(count):
        if average:
            layer.weight[channel, channel, :2, :2] = 0.25
        else:
            layer.weight[channel, channel, middle, middle] = 1


def text_encoder(size: Size, vocabulary: int) -> Network:
    end = vocabulary - 1
    config: Any = CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=size.text,
        intermediate_size=size.text * 4,
        num_hidden_layers=size.text_layers,
        num_attention_heads=4,
        max_position_embeddings=LENGTH,
        hidden_act="quick_gelu",
        projection_dim=size.text,
        bos_token_id=end - 1,
        eos_token_id=end,
        pad_token_id=end,
    )
    return CLIPTextModel(config)


def unet(size: Size) -> Network:
    """The finest level has no attention: at 16x16 it would cost more than it tells."""
    deeper = len(size.unet) - 1
    build: Any = UNet2DConditionModel
    return build(
        sample_size=size.pixels // 8,
        in_channels=4,
        out_channels=4,
        block_out_channels=size.unet,
        layers_per_block=1,
        cross_attention_dim=size.text,
        down_block_types=("DownBlock2D",) + ("CrossAttnDownBlock2D",) * deeper,
        up_block_types=("CrossAttnUpBlock2D",) * deeper + ("UpBlock2D",),
        attention_head_dim=4,
        norm_num_groups=8,
    )


def scheduler() -> Any:
    """Stable Diffusion 1.x's noise schedule; the image model predicts velocity."""
    build: Any = DDIMScheduler
    return build(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type="v_prediction",
    )
