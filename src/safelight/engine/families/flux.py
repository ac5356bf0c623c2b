"""FLUX.1 (dev, schnell, Fill): a transformer that reads T5, is told CLIP's pooled answer, and in dev how strong to be.

Guidance is a number that the network is told, so a picture is one row; a second row for the negative prompt is taken
only where ``true_cfg_scale`` asks for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from diffusers import AutoencoderKL, FluxTransformer2DModel
from torch import Tensor
from torch.nn.functional import pixel_unshuffle
from transformers import CLIPTextModel, T5EncoderModel

from safelight.engine import compvis
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
    timesteps,
)
from safelight.engine.families.text import CLIP_TOKENIZERS, T5_TOKENIZERS, Reader, t5
from safelight.engine.families.tokens import pack, unpack
from safelight.engine.flow import Schedule
from safelight.engine.generation import Generation
from safelight.engine.textual_inversion import Concept

CLIP_LENGTH, T5_LENGTH = 77, 512


class Flux(Family):
    pipelines = tuple(f"Flux{task}Pipeline" for task in ("", "Img2Img", "Inpaint", "Fill"))
    classes: ClassVar[Classes] = {
        "transformer": {"FluxTransformer2DModel": FluxTransformer2DModel},
        "vae": {"AutoencoderKL": AutoencoderKL},
        "text_encoder": {"CLIPTextModel": CLIPTextModel},
        "text_encoder_2": {"T5EncoderModel": T5EncoderModel},
        "tokenizer": CLIP_TOKENIZERS,
        "tokenizer_2": T5_TOKENIZERS,
    }

    def __init__(self, parts: Parts, place: Place, concepts: Sequence[Concept] = ()) -> None:
        super().__init__(parts, place, concepts)
        self._config: Any = parts.networks["transformer"].config
        self._clip = Reader(parts.tokenizers["tokenizer"], CLIP_LENGTH, place)
        self._t5 = Reader(parts.tokenizers["tokenizer_2"], T5_LENGTH, place)

    @property
    def extra_channels(self) -> int:
        channels: int = self._config["in_channels"] // 4 - self.autoencoder.channels
        return channels

    def begins_with_picture(self, strength: float) -> bool:
        del strength
        return True

    def masked_channels(self, mask: Tensor, masked: Tensor) -> Tensor:
        return torch.cat([masked, pixel_unshuffle(mask, self.autoencoder.side)])

    def guided(self, generation: Generation) -> bool:
        return generation.true_cfg_scale > 1.0

    def push(self, generation: Generation) -> float:
        return generation.true_cfg_scale

    def schedule(self, shape: Shape) -> Schedule:
        return Schedule(even=True, tokens=(shape[1] // 2) * (shape[2] // 2))

    def spellings(self, part: str, path: str) -> list[str]:
        return compvis.text_spellings(path) if part == "text_encoder" else [path]

    def read(self, networks: Networks, prompts: Sequence[str], clip_skip: int) -> list[Conditioning]:
        del clip_skip  # of CLIP only the pooled answer is used
        pooled = networks["text_encoder"](self._clip(prompts)).pooler_output
        rows = t5(networks["text_encoder_2"], self._t5, prompts)
        return [Conditioning(row, whole) for row, whole in zip(rows, pooled, strict=True)]

    def gather(self, rows: Sequence[Row]) -> Inputs:
        x = torch.stack([row.x for row in rows])  # (R, C, h, w)
        extras = [row.extra for row in rows if row.extra is not None]
        pooled = [row.text.pooled for row in rows if row.text.pooled is not None]
        inputs = {
            "hidden_states": torch.cat([x, torch.stack(extras).to(x)], dim=1) if extras else x,
            "timestep": timesteps(rows, self.place),
            "encoder_hidden_states": self.place.enter(torch.stack([row.text.embedding for row in rows])),
            "pooled_projections": self.place.enter(torch.stack(pooled)),
        }
        if self._config["guidance_embeds"]:
            inputs["guidance"] = self.place.send(torch.tensor([row.guidance for row in rows]))
        return inputs

    def call(self, networks: Networks, inputs: Inputs) -> Tensor:
        height, width = inputs["hidden_states"].shape[-2:]
        tokens = networks["transformer"](
            **inputs
            | {
                "hidden_states": pack(self.place.enter(inputs["hidden_states"])),
                "timestep": inputs["timestep"] / 1000,
                "img_ids": positions(height // 2, width // 2, self.place.device),
                "txt_ids": torch.zeros(inputs["encoder_hidden_states"].shape[1], 3, device=self.place.device),
            }
        ).sample
        return unpack(tokens, height, width)


def positions(height: int, width: int, device: torch.device) -> Tensor:
    """Which picture, row and column each token is of."""
    rows, columns = torch.arange(height, device=device), torch.arange(width, device=device)
    grid = torch.cartesian_prod(rows, columns).float()  # (height * width, 2)
    return torch.nn.functional.pad(grid, (1, 0))
