"""FLUX.1 (dev, schnell, Fill, Kontext): a transformer that reads T5, is told CLIP's pooled answer, and in dev how strong to be.

Guidance is a number that the network is told, so a picture is one row; a second row for the negative prompt is taken
only where ``true_cfg_scale`` asks for it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from diffusers import AutoencoderKL, FluxControlNetModel, FluxTransformer2DModel
from torch import Tensor, nn
from torch.nn.functional import pixel_unshuffle
from transformers import CLIPTextModel, T5EncoderModel

from safelight.engine import compvis
from safelight.engine.families import additions, tokens
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
    references,
    timesteps,
)
from safelight.engine.families.flux_names import original_name
from safelight.engine.families.text import CLIP_TOKENIZERS, T5_TOKENIZERS, Reader, t5
from safelight.engine.flow import Schedule
from safelight.engine.generation import Generation, Pixels
from safelight.engine.textual_inversion import Concept

FILL = 384  # channels that Fill's transformer reads in each token: latents, masked picture, mask
CLIP_LENGTH, T5_LENGTH = 77, 512
WIDTHS = ("num_attention_heads", "attention_head_dim", "joint_attention_dim", "pooled_projection_dim")
WIDE = ((1568, 672), (1504, 688), (1456, 720), (1392, 752), (1328, 800), (1248, 832), (1184, 880), (1104, 944))
TRAINED_SIZES = (*WIDE, (1024, 1024), *((height, width) for width, height in WIDE))  # of Kontext


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

    compiles = True
    row = 279, 3072
    control: ClassVar[Control | None] = Control(FluxControlNetModel, ("in_channels", *WIDTHS), latents=True, drawn=True)

    def __init__(self, parts: Parts, place: Place, concepts: Sequence[Concept] = ()) -> None:
        super().__init__(parts, place, concepts)
        self._config: Any = parts.networks["transformer"].config
        self._clip = Reader(parts.tokenizers["tokenizer"], CLIP_LENGTH, place)
        self._t5 = Reader(parts.tokenizers["tokenizer_2"], T5_LENGTH, place)

    @classmethod
    def tasks(cls, config: Mapping[str, Any]) -> tuple[str, ...]:
        return ("inpaint",) if config.get("in_channels") == FILL else super().tasks(config)

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
        return tokens.schedule(*shape[1:])

    def spellings(self, part: str, path: str) -> list[str]:
        if part == "text_encoder":
            return compvis.text_spellings(path)
        return [path, *([] if (original := original_name(path)).endswith("#swapped") else [original])]

    def read(self, networks: Networks, prompts: Sequence[str], clip_skip: int) -> list[Conditioning]:
        del clip_skip  # of CLIP only the pooled answer is used
        wholes = networks["text_encoder"](self._clip(prompts)).pooler_output
        rows = t5(networks["text_encoder_2"], self._t5, prompts)
        return [Conditioning(row, whole) for row, whole in zip(rows, wholes, strict=True)]

    def gather(self, rows: Sequence[Row]) -> Inputs:
        x = torch.stack([row.x for row in rows])  # (R, C, h, w)
        extras = [row.extra for row in rows if row.extra is not None]
        inputs = {
            "hidden_states": torch.cat([x, torch.stack(extras).to(x)], dim=1) if extras else x,
            "timestep": timesteps(rows, self.place),
            "encoder_hidden_states": embeddings(rows, self.place),
            "pooled_projections": pooled(rows, self.place),
        }
        if self._config["guidance_embeds"]:
            inputs["guidance"] = self.place.send(torch.tensor([row.guidance for row in rows]))
        return inputs | references(rows) | additions.gathered(rows)

    def steer(self, network: nn.Module, rows: Sequence[Row], hint: Tensor, scale: float) -> list[Additions]:
        """The prompt's row is asked, and its answer goes to the negative prompt's too, as the pipelines have it."""
        steering: Any = network
        row = replace(rows[-1], extra=None, references=(), additions=())
        told, _ = self._told(self.gather([row]))
        told.pop("guidance", None)
        if steering.config.guidance_embeds:
            told["guidance"] = self.place.send(torch.tensor([row.guidance]))
        cond = tokens.pack(self.place.enter(hint[None]))
        double, single = steering(controlnet_cond=cond, conditioning_scale=scale, **told, return_dict=False)
        spread = _spread(double, self._config["num_layers"], double)
        return [spread + _spread(single, self._config["num_single_layers"], double)] * len(rows)

    def call(self, networks: Networks, inputs: Inputs) -> Tensor:
        told, pictures = self._told(additions.without(inputs))
        layers, single = self._config["num_layers"], self._config["num_single_layers"]
        if levels := additions.levels(inputs, layers + single):
            told["controlnet_block_samples"] = levels[:layers] or None
            told["controlnet_single_block_samples"] = levels[layers:] or None
        return tokens.drawn(networks["transformer"](**told).sample, pictures[0])

    def _told(self, inputs: Inputs) -> tuple[dict[str, Any], list[Tensor]]:
        told, pictures = tokens.told(inputs, self.place)
        drawn, *shown = pictures
        laid = zip(shown, corners(shown), strict=True)
        told["img_ids"] = torch.cat([positions(drawn, 0), *(positions(each, 1, *corner) for each, corner in laid)])
        told["txt_ids"] = torch.zeros(told["encoder_hidden_states"].shape[1], 3, device=self.place.device)
        return told, pictures


class Kontext(Flux):
    """Edits by instruction: the tokens of the pictures that it speaks of stand beside those that are drawn."""

    pipelines = ("FluxKontextPipeline",)
    most_pictures = 4
    compiles = False  # a call has a picture or has none, and so one tensor more or less
    control = None

    def company(self, generation: Generation, shape: Shape) -> str:
        company = super().company(generation, shape)
        if generation.init_image is None:
            return company
        return f"{company} beside {self.sizes_beside(generation)}"

    def reference_size(self, init: Pixels) -> tuple[int, int]:
        """Of the sizes that the model was trained on, the one of the nearest aspect."""
        height, width = (side // self.multiple * self.multiple for side in init.shape[:2])
        return min(TRAINED_SIZES, key=lambda size: (abs(width / height - size[0] / size[1]), size))


def _spread(samples: Sequence[Tensor] | None, count: int, others: Sequence[Tensor]) -> Additions:
    """Over so many layers; where a ControlNet has no answer to these, nothing is added, as wide as ``others``."""
    found = samples or [torch.zeros_like(others[0])]
    return tuple(additions.spread(found, count, math.ceil(count / len(found))))


def positions(latents: Tensor, plane: int, top: int = 0, left: int = 0) -> Tensor:
    """Which plane, row and column each token of latents (R, C, h, w) is of."""
    sides = zip((top, left), latents.shape[-2:], strict=True)
    rows, columns = (torch.arange(first, first + side // 2, device=latents.device) for first, side in sides)
    grid = torch.stack(torch.meshgrid(rows, columns, indexing="ij"), -1).flatten(0, 1).float()  # (h / 2 * w / 2, 2)
    return torch.nn.functional.pad(grid, (1, 0), value=plane)


def corners(pictures: Sequence[Tensor]) -> list[tuple[int, int]]:
    """The first row and column of each in one plane: below those before it, or to the right where that is less far."""
    found, high, wide = list[tuple[int, int]](), 0, 0
    for picture in pictures:
        height, width = (side // 2 for side in picture.shape[-2:])
        top, left = (0, wide) if high + height > wide + width else (high, 0)
        high, wide = max(high, top + height), max(wide, left + width)
        found.append((top, left))
    return found
