"""Reads a single-file checkpoint in the original (CompVis, Stability) layout, from its keys and shapes alone.

Such a file says nothing of its architecture, so the configuration is inferred; a ``.json`` file of the same name beside
it may hold what shapes cannot tell ({"prediction_type": "epsilon", "native_size": 768}). Reaches no network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count, takewhile
from pathlib import Path
from typing import Any

from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from safelight.engine import compvis
from safelight.engine.clip_vocabulary import END, clip_tokenizer
from safelight.engine.components import Components, build, scheduler_class
from safelight.engine.families.family import Parts
from safelight.engine.families.instruct_pix2pix import EDITING, InstructPix2Pix
from safelight.engine.families.stable_diffusion import INPAINTING, StableDiffusion
from safelight.engine.weights import Config, ReadTensors, Weights, read_config, read_header, read_tensors
from safelight.errors import EngineFailed

UNET, VAE = "model.diffusion_model.", "first_stage_model."
CLIP_1, OPEN_CLIP_2 = "cond_stage_model.transformer.text_model.", "cond_stage_model.model."
CLIP_XL, OPEN_CLIP_XL = "conditioner.embedders.0.transformer.text_model.", "conditioner.embedders.1.model."
HEAD_WIDTH = 64  # of CLIP's text models, and of every UNet after Stable Diffusion 1
SD_NOISE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


@dataclass(frozen=True, slots=True)
class Part:
    """The tensors of a file under one prefix."""

    tensors: Weights
    prefix: str

    def __getitem__(self, name: str) -> Tensor:
        if self.prefix + name not in self.tensors:
            raise EngineFailed(f"The file is not a Stable Diffusion checkpoint: it has no {self.prefix}{name}")
        return self.tensors[self.prefix + name]

    def get(self, name: str) -> Tensor | None:
        return self.tensors.get(self.prefix + name)

    def has(self, name: str) -> bool:
        return any(key.startswith(self.prefix + name) for key in self.tensors)

    def count(self, pattern: str) -> int:
        """How many consecutive numbers, from 0, ``pattern`` (with one {}) has parts for."""
        return sum(1 for _ in takewhile(lambda i: self.has(pattern.format(i)), count()))


def read_single_file(path: Path, read: ReadTensors = read_tensors) -> Components:
    """Stable Diffusion 1 or 2, its inpainting form, or SDXL, from one safetensors file."""
    notes_file = path.with_suffix(".json")
    notes = read_config(notes_file) if notes_file.exists() else {}
    tensors = read(path, wanted=lambda name: not name.startswith("model_ema."))
    texts, tokenizers = _text_encoders(tensors)
    unet, vae = Part(tensors, UNET), Part(tensors, VAE)
    unet_config = infer_unet(unet, _pooled_width(texts))
    vae_config = infer_vae(vae, scaling_factor=0.13025 if len(texts) == 2 else 0.18215)
    kind, scheduler_config = _scheduler(path, tensors, unet_config, notes)
    networks = {
        "unet": build(UNet2DConditionModel, unet_config, lambda name: unet.get(compvis.unet_name(name, unet_config))),
        "vae": build(AutoencoderKL, vae_config, find_vae(vae, len(vae_config["block_out_channels"]))),
    }
    return Components(
        InstructPix2Pix if unet_config["in_channels"] == EDITING else StableDiffusion,
        Parts(networks | texts, tokenizers),
        scheduler_class=scheduler_class(kind),
        scheduler_config=scheduler_config,
        notes=notes,
    )


def read_single_encoders(path: Path) -> dict[str, nn.Module]:
    """The text models alone."""
    texts, _ = _text_encoders(read_tensors(path, lambda name: part_of_key(name) == "encoders"))
    return texts


def part_of_key(name: str) -> str:
    """Which of the three things that take memory a tensor is of."""
    if name.startswith((CLIP_1, OPEN_CLIP_2, CLIP_XL, OPEN_CLIP_XL, "text_encoders.")):
        return "encoders"
    return "autoencoder" if name.startswith((VAE, "vae.")) else "denoiser"


def infer_unet(unet: Part, pooled_width: int | None) -> Config:
    """The configuration of a UNet, from the names and shapes of its tensors."""
    blocks = unet.count("input_blocks.{}.")
    downs = [i for i in range(1, blocks) if unet.has(f"input_blocks.{i}.0.op.")]
    layers = (downs[0] if downs else blocks) - 1
    firsts = range(1, blocks, layers + 1)  # the first block of each level
    channels = [unet[f"input_blocks.{i}.0.out_layers.3.weight"].shape[0] for i in firsts]
    depths = [unet.count(f"input_blocks.{i}.1.transformer_blocks.{{}}.") for i in firsts]
    attended = next(
        (f"input_blocks.{i}.1." for i, depth in zip(firsts, depths, strict=True) if depth), "middle_block.1."
    )
    linear = unet[f"{attended}proj_in.weight"].ndim == 2
    config = {
        "in_channels": _in_channels(unet),
        "block_out_channels": channels,
        "layers_per_block": layers,
        "down_block_types": ["CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in depths],
        "up_block_types": ["CrossAttnUpBlock2D" if depth else "UpBlock2D" for depth in reversed(depths)],
        "transformer_layers_per_block": [
            depth or unet.count("middle_block.1.transformer_blocks.{}.") for depth in depths
        ],
        "cross_attention_dim": unet["middle_block.1.transformer_blocks.0.attn2.to_k.weight"].shape[1],
        "attention_head_dim": [width // HEAD_WIDTH for width in channels] if linear else 8,
        "use_linear_projection": linear,
    }
    return config | _size_conditions(unet, pooled_width)


def _in_channels(unet: Part) -> int:
    channels = unet["input_blocks.0.0.weight"].shape[1]
    if channels == 5:
        raise EngineFailed(
            "A checkpoint that is told the depth loads from a diffusers folder, its depth estimator with it"
        )
    if channels not in (4, EDITING, INPAINTING):
        raise EngineFailed(
            f"A UNet with {channels} input channels is neither a plain, an inpainting nor an editing checkpoint"
        )
    return channels


def _size_conditions(unet: Part, pooled_width: int | None) -> Config:
    """SDXL's UNet is also told the picture's size, six numbers, beside the pooled text."""
    first = unet.get("label_emb.0.0.weight")
    if first is None or pooled_width is None:
        return {}
    return {
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": (first.shape[1] - pooled_width) // 6,
        "projection_class_embeddings_input_dim": first.shape[1],
    }


def infer_vae(vae: Part, scaling_factor: float) -> Config:
    """The configuration of an autoencoder, from the names and shapes of its tensors."""
    levels = vae.count("encoder.down.{}.")
    return {
        "block_out_channels": [vae[f"encoder.down.{i}.block.0.conv1.weight"].shape[0] for i in range(levels)],
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
        "layers_per_block": vae.count("encoder.down.0.block.{}."),
        "latent_channels": vae["post_quant_conv.weight"].shape[1],
        "scaling_factor": scaling_factor,
    }


def find_vae(vae: Part, levels: int) -> Callable[[str], Tensor | None]:
    def find(name: str) -> Tensor | None:
        tensor = vae.get(compvis.vae_name(name, levels))
        flat = tensor is not None and ".attentions." in name and tensor.ndim == 4
        return tensor[:, :, 0, 0] if tensor is not None and flat else tensor  # 1x1 convolutions became linear

    return find


def _text_encoders(tensors: Weights) -> tuple[dict[str, nn.Module], dict[str, CLIPTokenizer]]:
    """The text models and their tokenizers, by the names that a diffusers folder gives them."""
    first, second = Part(tensors, CLIP_XL), Part(tensors, OPEN_CLIP_XL)
    if first.has("") and second.has(""):
        texts = {"text_encoder": _clip(first), "text_encoder_2": _open_clip(second, drop_last=False)}
        return texts, {"tokenizer": clip_tokenizer(END), "tokenizer_2": clip_tokenizer("!")}
    if Part(tensors, CLIP_1).has(""):
        return {"text_encoder": _clip(Part(tensors, CLIP_1))}, {"tokenizer": clip_tokenizer(END)}
    if Part(tensors, OPEN_CLIP_2).has(""):
        text = _open_clip(Part(tensors, OPEN_CLIP_2), drop_last=True)
        return {"text_encoder": text}, {"tokenizer": clip_tokenizer("!")}
    raise EngineFailed("The file is not a whole Stable Diffusion 1, 2 or SDXL checkpoint: it has no known text encoder")


def _clip(part: Part) -> nn.Module:
    config = _text_config(part["embeddings.token_embedding.weight"], part["encoder.layers.0.mlp.fc1.weight"])
    config |= {"num_hidden_layers": part.count("encoder.layers.{}."), "hidden_act": "quick_gelu"}
    return build(CLIPTextModel, config, lambda name: part.get(name.removeprefix("text_model.")))


def _open_clip(part: Part, *, drop_last: bool) -> nn.Module:
    """Stable Diffusion 2 reads the last layer but one, so diffusers drops the last; SDXL keeps and pools it."""
    config = _text_config(part["token_embedding.weight"], part["transformer.resblocks.0.mlp.c_fc.weight"])
    layers = part.count("transformer.resblocks.{}.")
    config |= {"num_hidden_layers": layers - drop_last, "hidden_act": "gelu"}
    if not drop_last:
        config["projection_dim"] = part["text_projection"].shape[1]
    kind = CLIPTextModel if drop_last else CLIPTextModelWithProjection
    return build(kind, config, lambda name: _open_clip_tensor(part, name))


def _open_clip_tensor(part: Part, name: str) -> Tensor | None:
    tensor = part.get(compvis.open_clip_name(name))
    if tensor is None:
        return None
    if name.startswith("text_projection"):
        return tensor.T.contiguous()
    for i, projection in enumerate(("q_proj", "k_proj", "v_proj")):
        if projection in name:
            return tensor.chunk(3)[i].clone()
    return tensor


def _text_config(tokens: Tensor, widening: Tensor) -> Config:
    vocabulary, width = tokens.shape
    if vocabulary != len(clip_tokenizer()):
        raise EngineFailed(f"The file's text encoder reads a vocabulary of {vocabulary} words, which is not CLIP's")
    return {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": widening.shape[0],
        "num_attention_heads": width // HEAD_WIDTH,
        "eos_token_id": vocabulary - 1,
        "bos_token_id": vocabulary - 2,
    }


def _pooled_width(texts: Mapping[str, Any]) -> int | None:
    return texts["text_encoder_2"].config.projection_dim if "text_encoder_2" in texts else None


def _scheduler(path: Path, tensors: Weights, unet: Config, notes: Config) -> tuple[str, Config]:
    """The scheduler that the family's own diffusers checkpoints name, with the prediction type of this file."""
    sdxl, linear = "addition_embed_type" in unet, unet["use_linear_projection"]
    velocity = _predicts_velocity(path, tensors, notes, default=linear and not sdxl)
    config = SD_NOISE | {"prediction_type": "v_prediction" if velocity else "epsilon", "steps_offset": 1}
    if "ztsnr" in tensors:
        config |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    if sdxl:
        return "EulerDiscreteScheduler", {"timestep_spacing": "leading"} | config
    if linear:
        return "DDIMScheduler", config | {"clip_sample": False, "set_alpha_to_one": False}
    return "PNDMScheduler", config | {"skip_prk_steps": True, "set_alpha_to_one": False}


def _predicts_velocity(path: Path, tensors: Weights, notes: Config, *, default: bool) -> bool:
    """Shapes cannot tell; trainers mark it by an empty tensor or in the header, and the operator's note decides."""
    metadata = read_header(path).metadata
    said = notes.get("prediction_type") or metadata.get("modelspec.prediction_type")
    if said is None and metadata.get("modelspec.architecture", "").endswith("-768-v"):
        return True
    return "v_pred" in tensors or default if said is None else str(said).startswith("v")
