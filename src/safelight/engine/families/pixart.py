"""PixArt-Sigma: a transformer that predicts noise as Stable Diffusion's UNet does, and reads T5 alone.

diffusers has a pipeline for text-to-image; starting from a picture and inpainting follow Stable Diffusion's rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from diffusers import AutoencoderKL, PixArtTransformer2DModel
from torch import Tensor
from transformers import T5EncoderModel

from safelight.engine.families.autoencoder import Place
from safelight.engine.families.family import Classes, Conditioning, Family, Inputs, Networks, Parts, Row, timesteps
from safelight.engine.families.text import T5_TOKENIZERS, Words, padded_texts
from safelight.engine.textual_inversion import Concept

LONGEST = 300


class PixArt(Family):
    pipelines = ("PixArtSigmaPipeline",)
    classes: ClassVar[Classes] = {
        "transformer": {"PixArtTransformer2DModel": PixArtTransformer2DModel},
        "vae": {"AutoencoderKL": AutoencoderKL},
        "text_encoder": {"T5EncoderModel": T5EncoderModel},
        "tokenizer": T5_TOKENIZERS,
    }

    compiles = True
    row = 60, 1152

    def __init__(self, parts: Parts, place: Place, concepts: Sequence[Concept] = ()) -> None:
        super().__init__(parts, place, concepts)
        self._words = Words(parts.tokenizers["tokenizer"], "{}", LONGEST, place)

    def read(self, networks: Networks, prompts: Sequence[str], clip_skip: int) -> list[Conditioning]:
        """As the pipeline reads them where the libraries for its cleaner are not there."""
        del clip_skip
        answers = (networks["text_encoder"](self._words(prompt.lower().strip())) for prompt in prompts)
        return [Conditioning(answer[0][0]) for answer in answers]

    def gather(self, rows: Sequence[Row]) -> Inputs:
        text, told = padded_texts([row.text.embedding for row in rows], LONGEST)
        return {
            "hidden_states": torch.stack([row.x for row in rows]),  # (R, C, h, w)
            "encoder_hidden_states": self.place.enter(text),  # (R, 300, D)
            "encoder_attention_mask": told.to(self.place.device),
            "timestep": timesteps(rows, self.place),
        }

    def call(self, networks: Networks, inputs: Inputs) -> Tensor:
        """Half of the answer is a spread, which no sampler here uses."""
        entered = inputs | {"hidden_states": self.place.enter(inputs["hidden_states"])}
        answer: Tensor = networks["transformer"](
            **entered, added_cond_kwargs={"resolution": None, "aspect_ratio": None}
        ).sample
        return answer[:, : self.autoencoder.channels]
