"""Stable Diffusion 3 and 3.5: a transformer that reads two CLIP models and, where the checkpoint has it, T5."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from diffusers import AutoencoderKL, SD3ControlNetModel, SD3Transformer2DModel
from torch import Tensor, nn
from torch.nn.functional import pad
from transformers import CLIPTextModelWithProjection, T5EncoderModel

from safelight.engine import compvis
from safelight.engine.families import additions
from safelight.engine.families.additions import Additions, Control
from safelight.engine.families.autoencoder import Place
from safelight.engine.families.family import (
    Classes,
    Conditioning,
    Family,
    Inputs,
    Networks,
    Parts,
    Row,
    Shape,
    embeddings,
    pooled,
    timesteps,
)
from safelight.engine.families.text import CLIP_TOKENIZERS, T5_TOKENIZERS, Reader, t5
from safelight.engine.families.tokens import count
from safelight.engine.flow import Schedule
from safelight.engine.textual_inversion import Concept

CLIP_MODELS = {"CLIPTextModelWithProjection": CLIPTextModelWithProjection}
WIDTHS = ("in_channels", "num_attention_heads", "attention_head_dim", "pooled_projection_dim")
CLIP_LENGTH, T5_LENGTH = 77, 256


class StableDiffusion3(Family):
    pipelines = tuple(f"StableDiffusion3{task}Pipeline" for task in ("", "Img2Img", "Inpaint"))
    classes: ClassVar[Classes] = {
        "transformer": {"SD3Transformer2DModel": SD3Transformer2DModel},
        "vae": {"AutoencoderKL": AutoencoderKL},
        "text_encoder": CLIP_MODELS,
        "text_encoder_2": CLIP_MODELS,
        "tokenizer": CLIP_TOKENIZERS,
        "tokenizer_2": CLIP_TOKENIZERS,
    }
    optional: ClassVar[Classes] = {
        "text_encoder_3": {"T5EncoderModel": T5EncoderModel},
        "tokenizer_3": T5_TOKENIZERS,
    }
    compiles = True
    row = 138, 2432
    control = Control(SD3ControlNetModel, WIDTHS, latents=True)

    def __init__(self, parts: Parts, place: Place, concepts: Sequence[Concept] = ()) -> None:
        super().__init__(parts, place, concepts)
        self._transformer: Any = parts.networks["transformer"]
        self._config: Any = self._transformer.config
        self._clips = {
            "text_encoder": Reader(parts.tokenizers["tokenizer"], CLIP_LENGTH, place),
            "text_encoder_2": Reader(parts.tokenizers["tokenizer_2"], CLIP_LENGTH, place),
        }
        t5_tokenizer = parts.tokenizers.get("tokenizer_3") if "text_encoder_3" in parts.networks else None
        self._t5 = t5_tokenizer and Reader(t5_tokenizer, T5_LENGTH, place)

    def schedule(self, shape: Shape) -> Schedule:
        return Schedule(tokens=count(*shape[1:]))

    def spellings(self, part: str, path: str) -> list[str]:
        return compvis.text_spellings(path) if part in self._clips else [path]

    def read(self, networks: Networks, prompts: Sequence[str], clip_skip: int) -> list[Conditioning]:
        outputs = [networks[name](read(prompts), output_hidden_states=True) for name, read in self._clips.items()]
        clip = torch.cat([output.hidden_states[-(clip_skip + 1)] for output in outputs], dim=-1)  # (B, 77, D1 + D2)
        wholes = torch.cat([output.text_embeds for output in outputs], dim=-1)
        width = self._config["joint_attention_dim"]
        long = clip.new_zeros(len(clip), T5_LENGTH, width)
        if self._t5:
            long = t5(networks["text_encoder_3"], self._t5, prompts)
        rows = torch.cat([pad(clip, (0, width - clip.shape[-1])), long], dim=1)  # (B, 77 + 256, width)
        return [Conditioning(row, whole) for row, whole in zip(rows, wholes, strict=True)]

    def gather(self, rows: Sequence[Row]) -> Inputs:
        return {
            "hidden_states": torch.stack([row.x for row in rows]),  # (R, C, h, w)
            "timestep": timesteps(rows, self.place),
            "encoder_hidden_states": embeddings(rows, self.place),
            "pooled_projections": pooled(rows, self.place),
            **additions.gathered(rows),
        }

    def steer(self, network: nn.Module, rows: Sequence[Row], hint: Tensor, scale: float) -> list[Additions]:
        """Those that are not told the pooled prompts were trained on latents without the shift."""
        steering: Any = network
        told: dict[str, Any] = self.gather([replace(row, additions=()) for row in rows])
        config, x, own = steering.config, self.place.enter(told["hidden_states"]), self._transformer.pos_embed
        told["hidden_states"] = x if config.use_pos_embed else own(x)
        if config.joint_attention_dim is None:
            del told["encoder_hidden_states"]
        if config.force_zeros_for_pooled_projection:
            told["pooled_projections"] = torch.zeros_like(told["pooled_projections"])
            hint = hint - self.autoencoder.shrink(torch.zeros_like(hint))
        cond = self.place.enter(hint.expand(len(rows), -1, -1, -1))
        samples = steering(controlnet_cond=cond, conditioning_scale=scale, **told, return_dict=False)[0]
        layers = self._config["num_layers"]
        parts = [[sample[i : i + 1] for sample in samples] for i in range(len(rows))]
        return [tuple(additions.spread(part, layers, layers / len(samples))) for part in parts]

    def call(self, networks: Networks, inputs: Inputs) -> Tensor:
        entered: dict[str, Any] = additions.without(inputs)
        entered["hidden_states"] = self.place.enter(inputs["hidden_states"])
        if levels := additions.levels(inputs, self._config["num_layers"]):
            entered["block_controlnet_hidden_states"] = levels
        answer: Tensor = networks["transformer"](**entered).sample
        return answer
