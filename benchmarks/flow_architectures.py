"""Random checkpoints of the transformer families: denoiser and autoencoder of true size, text encoders of true width.

The encoders have two layers, since a prompt is read once for all steps and remembered, and their vocabularies are
letters, since no tokenizer's file travels with the project.
"""

from __future__ import annotations

from typing import Any

import diffusers
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from transformers import (
    CLIPTextModel,
    CLIPTextModelWithProjection,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Tokenizer,
    Qwen3Config,
    Qwen3Model,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

from benchmarks.architectures import Size, clip_g, clip_l, kl
from safelight.engine.clip_vocabulary import END, byte_letters, clip_tokenizer

READS = 2  # layers of T5 and of the language models
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789,."
MARKS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
CHAT = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def sd35(size: Size) -> Any:
    """Stable Diffusion 3.5 large."""
    heads = 38 // size.narrow
    transformer = diffusers.SD3Transformer2DModel(
        sample_size=128,
        num_layers=size.layers(38),
        num_attention_heads=heads,
        attention_head_dim=64,
        caption_projection_dim=64 * heads,
        joint_attention_dim=4096 // size.narrow,
        pooled_projection_dim=2048 // size.narrow,
        pos_embed_max_size=192,
        qk_norm="rms_norm",
    )
    return diffusers.StableDiffusion3Pipeline(
        transformer=transformer,
        vae=latents_of_16(size, 1.5305, 0.0609),
        text_encoder=CLIPTextModelWithProjection(clip_l(size, projection_dim=768 // size.narrow)),
        text_encoder_2=CLIPTextModelWithProjection(clip_g(size)),
        text_encoder_3=t5(size),
        tokenizer=clip_tokenizer(END),
        tokenizer_2=clip_tokenizer("!"),
        tokenizer_3=t5_tokenizer(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
    )


def flux(size: Size) -> Any:
    """FLUX.1 dev."""
    transformer = diffusers.FluxTransformer2DModel(
        num_layers=size.layers(19),
        num_single_layers=size.layers(38),
        num_attention_heads=24 // size.narrow,
        joint_attention_dim=4096 // size.narrow,
        pooled_projection_dim=768 // size.narrow,
        guidance_embeds=True,
    )
    return diffusers.FluxPipeline(
        transformer=transformer,
        vae=latents_of_16(size, 0.3611, 0.1159),
        text_encoder=CLIPTextModel(clip_l(size)),
        text_encoder_2=t5(size),
        tokenizer=clip_tokenizer(END),
        tokenizer_2=t5_tokenizer(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
    )


def zimage(size: Size) -> Any:
    """Z-Image turbo."""
    heads = 30 // size.narrow
    transformer = diffusers.ZImageTransformer2DModel(
        dim=128 * heads,
        n_layers=size.layers(30),
        n_refiner_layers=size.layers(2),
        n_heads=heads,
        n_kv_heads=heads,
        cap_feat_dim=2560 // size.narrow,
        axes_dims=[32, 48, 48],
        axes_lens=[1536, 512, 512],
    )
    for filler in (transformer.x_pad_token, transformer.cap_pad_token):
        torch.nn.init.normal_(filler, std=0.02)
    language = Qwen3Config(
        vocab_size=300,
        hidden_size=2560 // size.narrow,
        intermediate_size=9728 // size.narrow,
        num_hidden_layers=READS,
        num_attention_heads=32 // size.narrow,
        num_key_value_heads=max(1, 8 // size.narrow),
        head_dim=128,
    )
    return diffusers.ZImagePipeline(
        transformer=transformer,
        vae=latents_of_16(size, 0.3611, 0.1159),
        text_encoder=Qwen3Model(language).eval(),
        tokenizer=qwen_tokenizer(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
    )


def qwen(size: Size) -> Any:
    """Qwen-Image."""
    heads = 28 // size.narrow
    transformer = diffusers.QwenImageTransformer2DModel(
        num_layers=size.layers(60), num_attention_heads=24 // size.narrow, joint_attention_dim=128 * heads
    )
    return diffusers.QwenImagePipeline(
        transformer=transformer,
        vae=diffusers.AutoencoderKLQwenImage(base_dim=96 // size.narrow),
        text_encoder=_qwen_language(size, heads),
        tokenizer=qwen_tokenizer(),
        scheduler=FlowMatchEulerDiscreteScheduler(
            use_dynamic_shifting=True, base_shift=0.5, max_shift=0.9, max_image_seq_len=8192, shift_terminal=0.02
        ),
    )


def _qwen_language(size: Size, heads: int) -> Any:
    text = {
        "vocab_size": 300,
        "hidden_size": 128 * heads,
        "intermediate_size": 18944 // size.narrow,
        "num_hidden_layers": READS,
        "num_attention_heads": heads,
        "num_key_value_heads": 4 if heads % 4 == 0 else 1,
        "rope_parameters": {
            "rope_type": "default",
            "type": "default",
            "mrope_section": [16, 24, 24],
            "rope_theta": 1e6,
        },
    }
    vision = {"depth": 1, "hidden_size": 64, "num_heads": 2, "intermediate_size": 64, "out_hidden_size": 128 * heads}
    return Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(text_config=text, vision_config=vision)).eval()


def pixart(size: Size) -> Any:
    """PixArt-Sigma XL, which predicts noise."""
    transformer = diffusers.PixArtTransformer2DModel(
        sample_size=128,
        num_layers=size.layers(28),
        num_attention_heads=16 // size.narrow,
        cross_attention_dim=1152 // size.narrow,
        caption_channels=4096 // size.narrow,
        use_additional_conditions=False,
    )
    return diffusers.PixArtSigmaPipeline(
        tokenizer=t5_tokenizer(),
        text_encoder=t5(size),
        vae=kl(size, scaling_factor=0.13025),
        transformer=transformer,
        scheduler=diffusers.DDIMScheduler(),
    )


def latents_of_16(size: Size, scale: float, shift: float) -> Any:
    return kl(
        size,
        latent_channels=16,
        scaling_factor=scale,
        shift_factor=shift,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )


def t5(size: Size) -> Any:
    """T5 XXL."""
    config = T5Config(
        vocab_size=200,
        d_model=4096 // size.narrow,
        d_ff=10240 // size.narrow,
        d_kv=64,
        num_heads=64 // size.narrow,
        num_layers=READS,
        feed_forward_proj="gated-gelu",
    )
    return T5EncoderModel(config).eval()


def t5_tokenizer() -> T5Tokenizer:
    special: list[tuple[str, float]] = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    return T5Tokenizer([*special, *((letter, -3.0) for letter in LETTERS)])


def qwen_tokenizer() -> Qwen2Tokenizer:
    """Byte by byte, with the tokens that the templates are made of."""
    vocabulary = {word: i for i, word in enumerate([*byte_letters().values(), *MARKS])}
    tokenizer = Qwen2Tokenizer(vocabulary, [], additional_special_tokens=list(MARKS[1:]))
    tokenizer.chat_template = CHAT
    return tokenizer
