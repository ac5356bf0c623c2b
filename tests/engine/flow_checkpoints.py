"""Small random checkpoints of the transformer families, of their true architectures, written by diffusers itself."""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLQwenImage,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxTransformer2DModel,
    PixArtTransformer2DModel,
    QwenImageTransformer2DModel,
    SD3Transformer2DModel,
    ZImageTransformer2DModel,
)
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import (
    CLIPTextModel,
    CLIPTextModelWithProjection,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Tokenizer,
    Qwen2VLProcessor,
    Qwen3Config,
    Qwen3Model,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.processing_utils import ProcessorMixin

from safelight.engine.clip_vocabulary import byte_letters

from .checkpoints import seeded, text_config, vae, write_tokenizer

WIDTH = 32  # of every transformer here
LETTERS = "abcdefghijklmnopqrstuvwxyz ,.<|>\n"


def kl(seed: int, scaling_factor: float, shift_factor: float) -> AutoencoderKL:
    return seeded(
        AutoencoderKL,
        seed,
        block_out_channels=(8, 8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        norm_num_groups=4,
        latent_channels=16,
        scaling_factor=scaling_factor,
        shift_factor=shift_factor,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )


def t5(seed: int, width: int) -> T5EncoderModel:
    sizes = {"vocab_size": 200, "d_model": width, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}
    return seeded(T5EncoderModel, seed, T5Config(**sizes)).eval()


def t5_tokenizer() -> T5Tokenizer:
    special: list[tuple[str, float]] = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    return T5Tokenizer([*special, ("▁", -2.0), *((letter, -3.0) for letter in LETTERS if letter != " ")])


def write_sd3(folder: Path, seed: int = 0) -> Path:
    """Stable Diffusion 3.5: normed queries and keys, a second attention in some layers, a shifted schedule."""
    tokenizers = [write_tokenizer(folder / f"tokenizer{end}", pad) for end, pad in (("", "<|endoftext|>"), ("_2", "!"))]
    transformer = seeded(
        SD3Transformer2DModel,
        seed,
        sample_size=16,
        num_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=144,
        caption_projection_dim=32,
        pooled_projection_dim=128,
        pos_embed_max_size=16,
        qk_norm="rms_norm",
        dual_attention_layers=(0,),
    )
    diffusers.StableDiffusion3Pipeline(
        transformer=transformer,
        vae=kl(seed, 1.5305, 0.0609),
        text_encoder=seeded(CLIPTextModelWithProjection, seed, text_config(tokenizers[0])),
        text_encoder_2=seeded(CLIPTextModelWithProjection, seed + 1, text_config(tokenizers[1], hidden_act="gelu")),
        text_encoder_3=t5(seed, 144),
        tokenizer=tokenizers[0],
        tokenizer_2=tokenizers[1],
        tokenizer_3=t5_tokenizer(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
    ).save_pretrained(folder)
    return folder


def write_flux(folder: Path, kind: str = "FluxPipeline", seed: int = 0, **changes: Any) -> Path:
    """FLUX.1 dev, or another of its kind by other numbers of channels, guidance and schedule."""
    tokenizer = write_tokenizer(folder / "tokenizer")
    scheduler = changes.pop("scheduler", {"shift": 3.0, "use_dynamic_shifting": True})
    usual: dict[str, Any] = {
        "in_channels": 64,
        "num_layers": 1,
        "num_single_layers": 1,
        "attention_head_dim": 16,
        "num_attention_heads": 2,
        "joint_attention_dim": 32,
        "pooled_projection_dim": 64,
        "guidance_embeds": True,
        "axes_dims_rope": (4, 6, 6),
    }
    getattr(diffusers, kind)(
        transformer=seeded(FluxTransformer2DModel, seed, **(usual | changes)),
        vae=kl(seed, 0.3611, 0.1159),
        text_encoder=seeded(CLIPTextModel, seed, text_config(tokenizer)),
        text_encoder_2=t5(seed, 32),
        tokenizer=tokenizer,
        tokenizer_2=t5_tokenizer(),
        scheduler=FlowMatchEulerDiscreteScheduler(**scheduler),
    ).save_pretrained(folder)
    return folder


def write_schnell(folder: Path) -> Path:
    return write_flux(folder, guidance_embeds=False, scheduler={"shift": 1.0})


def write_fill(folder: Path) -> Path:
    """The mask of every pixel and the masked picture are further channels."""
    return write_flux(folder, "FluxFillPipeline", in_channels=384, out_channels=64)


def write_kontext(folder: Path) -> Path:
    """Edits by instruction."""
    return write_flux(folder, "FluxKontextPipeline")


def qwen_tokenizer() -> Qwen2Tokenizer:
    """Byte by byte, with the tokens that the templates are made of."""
    marks = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *MARKS.values()]
    vocabulary = {word: i for i, word in enumerate([*byte_letters().values(), *marks])}
    tokenizer = Qwen2Tokenizer(vocabulary, [], additional_special_tokens=marks[1:])
    tokenizer.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    return tokenizer


MARKS = {
    "image": "<|image_pad|>",
    "video": "<|video_pad|>",
    "vision_start": "<|vision_start|>",
    "vision_end": "<|vision_end|>",
}
LANGUAGE: dict[str, Any] = {
    "vocab_size": 300,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
}


def write_qwen(folder: Path, kind: str = "QwenImagePipeline", seed: int = 0, **more: Any) -> Path:
    """Qwen-Image: its schedule ends above zero noise, so its last step is a long one."""
    rope = {"rope_type": "default", "type": "default", "mrope_section": [2, 3, 3], "rope_theta": 1000000.0}
    vision = {"depth": 1, "hidden_size": 32, "num_heads": 2, "intermediate_size": 64, "out_hidden_size": 32}
    tokenizer = qwen_tokenizer()
    marks = {f"{name}_token_id": tokenizer.convert_tokens_to_ids(word) for name, word in MARKS.items()}
    language = Qwen2_5_VLConfig(text_config=LANGUAGE | {"rope_parameters": rope}, vision_config=vision, **marks)
    getattr(diffusers, kind)(
        transformer=seeded(
            QwenImageTransformer2DModel,
            seed,
            num_layers=2,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=32,
            axes_dims_rope=(4, 6, 6),
        ),
        vae=seeded(AutoencoderKLQwenImage, seed, base_dim=8, dim_mult=[1, 1, 1, 1], num_res_blocks=1),
        text_encoder=seeded(Qwen2_5_VLForConditionalGeneration, seed, language).eval(),
        tokenizer=tokenizer,
        scheduler=FlowMatchEulerDiscreteScheduler(
            use_dynamic_shifting=True, base_shift=0.5, max_shift=0.9, max_image_seq_len=8192, shift_terminal=0.02
        ),
        **more,
    ).save_pretrained(folder)
    return folder


class StillProcessor(Qwen2VLProcessor):  # type: ignore[misc]  # transformers has no types here
    """The processor without its part for videos, which needs torchvision even where there are none."""

    def __init__(self, image_processor: Any = None, tokenizer: Any = None, chat_template: Any = None) -> None:
        self.image_token, self.video_token = MARKS["image"], MARKS["video"]
        self.image_token_id = tokenizer.convert_tokens_to_ids(self.image_token)
        self.video_token_id = tokenizer.convert_tokens_to_ids(self.video_token)
        ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=chat_template)


def still_processor() -> StillProcessor:
    size = {"shortest_edge": 28 * 28, "longest_edge": 16 * 28 * 28}
    return StillProcessor(Qwen2VLImageProcessorPil(size=size), qwen_tokenizer())


def write_qwen_edit(folder: Path, kind: str = "QwenImageEditPipeline") -> Path:
    """Edits by instruction, with the processor's files as published checkpoints have them."""
    write_qwen(folder, kind, processor=still_processor())
    shutil.rmtree(folder / "processor")
    still_processor().image_processor.save_pretrained(folder / "processor")
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | {"processor": ["transformers", "Qwen2VLProcessor"]}))
    return folder


def write_qwen_edit_plus(folder: Path) -> Path:
    return write_qwen_edit(folder, "QwenImageEditPlusPipeline")


def write_z_image(folder: Path, seed: int = 0) -> Path:
    transformer = seeded(
        ZImageTransformer2DModel,
        seed,
        dim=32,
        n_layers=2,
        n_refiner_layers=1,
        n_heads=2,
        n_kv_heads=2,
        cap_feat_dim=32,
        axes_dims=[4, 6, 6],
        axes_lens=[1024, 32, 32],
    )
    for filler in (transformer.x_pad_token, transformer.cap_pad_token):
        torch.nn.init.normal_(filler, generator=torch.Generator().manual_seed(seed))
    diffusers.ZImagePipeline(
        transformer=transformer,
        vae=kl(seed, 0.3611, 0.1159),
        text_encoder=seeded(Qwen3Model, seed, Qwen3Config(**LANGUAGE, head_dim=16)).eval(),
        tokenizer=qwen_tokenizer(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
    ).save_pretrained(folder)
    return folder


def write_pixart(folder: Path, seed: int = 0) -> Path:
    """PixArt-Sigma: not a flow; it predicts noise, and a spread beside it."""
    transformer = seeded(
        PixArtTransformer2DModel,
        seed,
        num_attention_heads=2,
        attention_head_dim=16,
        out_channels=8,
        num_layers=2,
        cross_attention_dim=32,
        caption_channels=48,
        sample_size=16,
        use_additional_conditions=False,
    )
    diffusers.PixArtSigmaPipeline(
        transformer=transformer,
        vae=vae(seed, 0.13025),
        text_encoder=t5(seed, 48),
        tokenizer=t5_tokenizer(),
        scheduler=DPMSolverMultistepScheduler(beta_start=0.0001, beta_end=0.02, beta_schedule="linear"),
    ).save_pretrained(folder)
    return folder


def write_lone(path: Path, folder: Path, original: Callable[[str], str], before: str = "") -> Path:
    """The transformer of a folder alone in one file, in the layout of its original code."""
    shares: dict[str, dict[str, Tensor]] = defaultdict(dict)
    for name, tensor in load_file(folder / "transformer" / "diffusion_pytorch_model.safetensors").items():
        module, _, kind = name.rpartition(".")
        stem, _, share = original(module).partition("#")
        kind = "scale" if stem.endswith(("query_norm", "key_norm")) else kind
        halves = share == "swapped" and len(tensor) == 2 * WIDTH
        shares[f"{before}{stem}.{kind}".replace("..", ".").lstrip(".")][share] = (
            torch.cat(tensor.chunk(2)[::-1]) if halves else tensor
        )
    save_file({name: torch.cat([parts[i] for i in sorted(parts)]) for name, parts in shares.items()}, path)
    return path


def unpacked(tokens: Tensor, height: int, width: int) -> Tensor:
    """A pipeline's latents as the autoencoder wants them."""
    squares = tokens.reshape(height // 2, width // 2, -1, 2, 2).permute(2, 0, 3, 1, 4)
    return squares.reshape(-1, height, width)
