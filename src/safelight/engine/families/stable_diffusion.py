"""Stable Diffusion 1.x, 2.x and XL, their inpainting forms included: a UNet that is told the prompt by CLIP's models.

SDXL has a second text model, whose pooled answer and the picture's size are further conditions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from safelight.engine import compvis
from safelight.engine.emphasis import emphasised
from safelight.engine.families import additions
from safelight.engine.families.additions import Control
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
from safelight.engine.families.text import CLIP_TOKENIZERS
from safelight.engine.generation import Generation
from safelight.engine.textual_inversion import Concept, teach

INPAINTING = 9  # channels that such a UNet reads: latents, mask, masked picture
TEXT_MODELS = ("text_encoder", "text_encoder_2")
ATTENTIVE = 130  # MiB of a row where the text is heeded at full size already, as in Stable Diffusion 1.x and 2.x


class StableDiffusion(Family):
    pipelines: ClassVar[tuple[str, ...]] = tuple(
        f"{name}{task}Pipeline"
        for name in ("StableDiffusion", "StableDiffusionXL")
        for task in ("", "Img2Img", "Inpaint")
    )
    classes: ClassVar[Classes] = {
        "unet": {"UNet2DConditionModel": UNet2DConditionModel},
        "vae": {"AutoencoderKL": AutoencoderKL},
        "text_encoder": {"CLIPTextModel": CLIPTextModel},
        "tokenizer": CLIP_TOKENIZERS,
    }
    optional: ClassVar[Classes] = {
        "text_encoder_2": {"CLIPTextModelWithProjection": CLIPTextModelWithProjection},
        "tokenizer_2": CLIP_TOKENIZERS,
    }
    denoiser = "unet"
    multiple = 8
    compiles = True
    row = 79, 320
    control = Control(ControlNetModel, ("block_out_channels", "cross_attention_dim", "layers_per_block"))

    def __init__(self, parts: Parts, place: Place, concepts: Sequence[Concept] = ()) -> None:
        super().__init__(parts, place)
        self._unet: Any = parts.networks["unet"]
        self._text_models = [name for name in TEXT_MODELS if name in parts.networks]
        self._vocabularies = [
            teach(parts.tokenizers[name.replace("text_encoder", "tokenizer")], parts.networks[name], i, concepts)
            for i, name in enumerate(self._text_models)
        ]

    @classmethod
    def tasks(cls, config: Mapping[str, Any]) -> tuple[str, ...]:
        return ("inpaint",) if config.get("in_channels") == INPAINTING else super().tasks(config)

    @classmethod
    def row_bytes(cls, config: Mapping[str, Any]) -> int | None:
        attends = any(kind.startswith("CrossAttn") for kind in config.get("down_block_types", ())[:1])
        least = super().row_bytes(config)
        return least and (least * ATTENTIVE // cls.row[0] if attends else least)

    @classmethod
    def width(cls, config: Mapping[str, Any]) -> int:
        return int(next(iter(config.get("block_out_channels", ())), 0))

    @property
    def extra_channels(self) -> int:
        channels: int = self._unet.config["in_channels"] - self.autoencoder.channels
        return channels

    @property
    def viewed(self) -> bool:
        """SDXL is told a picture's size."""
        return len(self._text_models) == 1 and not self.extra_channels

    def spellings(self, part: str, path: str) -> list[str]:
        if part in TEXT_MODELS:
            return compvis.text_spellings(path)
        attention = path.removesuffix(".0") if path.endswith("to_out.0") else path
        return [path, attention, compvis.unet_name(path, self._unet.config)]

    def teachable(self, concept: Concept) -> bool:
        return all(vocabulary.fits(concept) for vocabulary in self._vocabularies)

    def learn(self, concept: Concept) -> None:
        for vocabulary in self._vocabularies:
            vocabulary.learn(concept)

    def forget(self, name: str) -> None:
        for vocabulary in self._vocabularies:
            vocabulary.forget(name)

    def read(self, networks: Networks, prompts: Sequence[str], clip_skip: int) -> list[Conditioning]:
        """``clip_skip`` is diffusers' plus one."""
        outputs = self._outputs(networks, [vocabulary.read(prompts) for vocabulary in self._vocabularies])
        if len(outputs) == 1:
            return [Conditioning(row) for row in self._last_hidden(outputs[0], clip_skip)]
        rows = torch.cat([output.hidden_states[-(clip_skip + 1)] for output in outputs], dim=-1)  # (B, 77, D1 + D2)
        return [Conditioning(row, whole) for row, whole in zip(rows, outputs[-1].text_embeds, strict=True)]

    def read_weighed(
        self, networks: Networks, prompts: Sequence[str], clip_skip: int, pieces: int
    ) -> list[Conditioning]:
        return [self._read_pieces(networks, prompt, clip_skip, pieces) for prompt in prompts]

    def _read_pieces(self, networks: Networks, prompt: str, clip_skip: int, count: int) -> Conditioning:
        """One after the other as one text, (P x 77, D). SDXL's pooled answer is that to the first piece."""
        ids, weights = zip(*(vocabulary.read_pieces(prompt, count) for vocabulary in self._vocabularies), strict=True)
        outputs = self._outputs(networks, ids)
        single = len(outputs) == 1
        hidden = [
            self._last_hidden(output, clip_skip) if single else output.hidden_states[-(clip_skip + 1)]
            for output in outputs
        ]
        weighed = [emphasised(*each) for each in zip(hidden, weights, strict=True)]
        return Conditioning(torch.cat(weighed, dim=-1).flatten(0, 1), None if single else outputs[-1].text_embeds[0])

    def _outputs(self, networks: Networks, texts: Sequence[Tensor]) -> list[Any]:
        return [
            networks[name](self.place.text.enter(ids), output_hidden_states=True)
            for name, ids in zip(self._text_models, texts, strict=True)
        ]

    def pieces(self, generation: Generation) -> int:
        """As many as the longest of its prompts has: the others are filled with empty ones."""
        if not generation.weighed:
            return 0
        prompts = self.prompts(generation)
        return max(len(vocabulary.pieces(prompt)) for vocabulary in self._vocabularies for prompt in prompts)

    def company(self, generation: Generation, shape: Shape) -> str:
        """Texts of one piece are as long as texts whose words are not weighed."""
        pieces = self.pieces(generation)
        return super().company(generation, shape) + (f" {pieces} texts" if pieces > 1 else "")

    def _last_hidden(self, output: Any, clip_skip: int) -> Tensor:
        if clip_skip == 1:
            last: Tensor = output.last_hidden_state  # (B, 77, D)
            return last
        parts = self.networks[self._text_models[0]].named_modules()
        norm = next(part for name, part in parts if name.endswith("final_layer_norm"))
        normed: Tensor = norm(output.hidden_states[-clip_skip])
        return normed

    def gather(self, rows: Sequence[Row]) -> Inputs:
        x = torch.stack([row.x for row in rows])  # (R, C, h, w)
        extras = [row.extra for row in rows if row.extra is not None]
        inputs = {
            "sample": torch.cat([x, torch.stack(extras).to(x)], dim=1) if extras else x,
            "timestep": timesteps(rows, self.place),
            "encoder_hidden_states": embeddings(rows, self.place),
        }
        conditions = {} if rows[0].text.pooled is None else self._size_conditions(x, pooled(rows, self.place))
        return inputs | conditions | additions.gathered(rows)

    def _size_conditions(self, x: Tensor, wholes: Tensor) -> Inputs:
        """SDXL's UNet is told the size of the picture, and that nothing was cropped."""
        height, width = (float(side * self.autoencoder.side) for side in x.shape[-2:])
        time_ids = torch.tensor([[height, width, 0.0, 0.0, height, width]] * len(x))  # (R, 6)
        return {"text_embeds": wholes, "time_ids": self.place.enter(time_ids)}

    def steer(self, network: nn.Module, rows: Sequence[Row], hint: Tensor, scale: float) -> list[tuple[Tensor, ...]]:
        """A ControlNet reads latents, and nothing of what an inpainting UNet reads beside them."""
        inputs = self.gather([replace(row, extra=None, references=(), additions=()) for row in rows])
        levels, middle = network(
            self.place.enter(inputs["sample"]),
            inputs["timestep"],
            inputs["encoder_hidden_states"],
            self.place.enter(hint).expand(len(rows), -1, -1, -1),
            conditioning_scale=scale,
            added_cond_kwargs=_size_conditions(inputs),
            return_dict=False,
        )
        return list(zip(*levels, middle, strict=True))

    def call(self, networks: Networks, inputs: Inputs) -> Tensor:
        levels = [tensor for name, tensor in inputs.items() if name.startswith(additions.NAME)]
        answer: Tensor = networks["unet"](
            self.place.enter(inputs["sample"]),
            inputs["timestep"],
            inputs["encoder_hidden_states"],
            added_cond_kwargs=_size_conditions(inputs),
            down_block_additional_residuals=levels[:-1] or None,
            mid_block_additional_residual=levels[-1] if levels else None,
        ).sample
        return answer


def _size_conditions(inputs: Inputs) -> Inputs | None:
    return {name: inputs[name] for name in ("text_embeds", "time_ids") if name in inputs} or None
