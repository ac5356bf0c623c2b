"""Z-Image (turbo and base): one transformer over the tokens of picture and prompt together, of any number each.

So pictures of different sizes share a call: their tokens are padded to one length under a mask, and what must be equal
is only the class of lengths that they fall into.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from diffusers import AutoencoderKL, ZImageTransformer2DModel
from torch import Tensor
from torch.nn.functional import pad
from transformers import Qwen3Model

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
from safelight.engine.families.text import QWEN_TOKENIZERS, Words, length_class
from safelight.engine.families.tokens import schedule
from safelight.engine.flow import Schedule
from safelight.engine.generation import Generation
from safelight.engine.textual_inversion import Concept

TEMPLATE = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"  # what the tokenizer's chat template makes of it
LONGEST = 512
CHUNK = 32  # the model was trained on tokens in whole chunks, the last filled with a token for that
PATCH = "2-1"


class PaddedZImage(ZImageTransformer2DModel):  # type: ignore[misc]  # diffusers has no types
    """The same network, called with tensors whose shapes do not depend on which pictures and prompts are in them."""

    def forward(
        self,
        tokens: Tensor,  # (R, Lx, 4 C)
        places: Tensor,  # (R, Lx, 3)
        counts: Tensor,  # (R, 2): tokens of the picture, and with those that fill its last chunk
        text: Tensor,  # (R, Lc, D)
        text_places: Tensor,
        text_counts: Tensor,
        timestep: Tensor,  # (R,)
    ) -> Tensor:
        said = self.t_embedder(timestep * self.t_scale).type_as(tokens)
        x, mask = self._fill(self.all_x_embedder[PATCH](tokens), counts, self.x_pad_token)
        turns = self._turns(places)
        for layer in self.noise_refiner:
            x = layer(x, mask, turns, said)
        words, text_mask = self._fill(self.cap_embedder(text), text_counts, self.cap_pad_token)
        text_turns = self._turns(text_places)
        for layer in self.context_refiner:
            words = layer(words, text_mask, text_turns)
        length = x.shape[1]
        x, mask, turns = torch.cat([x, words], 1), torch.cat([mask, text_mask], 1), torch.cat([turns, text_turns], 1)
        for layer in self.layers:
            x = layer(x, mask, turns, said)
        answer: Tensor = self.all_final_layer[PATCH](x, c=said)[:, :length]
        return answer

    @staticmethod
    def _fill(x: Tensor, counts: Tensor, filler: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens behind the first count are the filler; those behind the second are not seen."""
        index = torch.arange(x.shape[1], device=x.device)
        return torch.where((index < counts[:, :1])[..., None], x, filler), index < counts[:, 1:]

    def _turns(self, places: Tensor) -> Tensor:
        turns: Tensor = self.rope_embedder(places.flatten(0, 1)).unflatten(0, places.shape[:2])
        return turns


class ZImage(Family):
    pipelines = tuple(f"ZImage{task}Pipeline" for task in ("", "Img2Img", "Inpaint"))
    classes: ClassVar[Classes] = {
        "transformer": {"ZImageTransformer2DModel": PaddedZImage},
        "vae": {"AutoencoderKL": AutoencoderKL},
        "text_encoder": {"Qwen3Model": Qwen3Model},
        "tokenizer": QWEN_TOKENIZERS,
    }
    row = 236, 3840

    def __init__(self, parts: Parts, place: Place, concepts: Sequence[Concept] = ()) -> None:
        super().__init__(parts, place, concepts)
        self._config: Any = parts.networks["transformer"].config
        self._words = Words(parts.tokenizers["tokenizer"], TEMPLATE, LONGEST, place)

    @classmethod
    def width(cls, config: Mapping[str, Any]) -> int:
        return int(config.get("dim", 0))

    def company(self, generation: Generation, shape: Shape) -> str:
        words = max(length_class(self._words.count(prompt)) for prompt in self.prompts(generation))
        return f"{picture_class(shape[1] * shape[2] // 4)} + {words} tokens"

    def trial_prompts(self, generation: Generation) -> list[str]:
        return [generation.prompt, generation.negative_prompt]

    def push(self, generation: Generation) -> float:
        """Z-Image counts from the prompt's own answer. Up to 1 is no guidance here as for every family."""
        return 1.0 + generation.guidance_scale

    def schedule(self, shape: Shape) -> Schedule:
        return schedule(*shape[1:])

    def read(self, networks: Networks, prompts: Sequence[str], clip_skip: int) -> list[Conditioning]:
        """Each alone, so that nothing pads it."""
        del clip_skip
        answers = (networks["text_encoder"](self._words(prompt), output_hidden_states=True) for prompt in prompts)
        return [Conditioning(answer.hidden_states[-2][0]) for answer in answers]

    def gather(self, rows: Sequence[Row]) -> Inputs:
        texts = [row.text.embedding for row in rows]
        words = length_class(max(len(text) for text in texts))
        sizes = [(row.x.shape[1] // 2, row.x.shape[2] // 2) for row in rows]
        length = picture_class(max(height * width for height, width in sizes))
        tokens = torch.stack([lengthened(patches(row.x), length) for row in rows])
        places = [grid(chunks(len(text)) + 1, *size) for text, size in zip(texts, sizes, strict=True)]
        return {
            "tokens": self.place.enter(tokens),
            "places": self.place.send(torch.stack([lengthened(place, length) for place in places])),
            "counts": self.place.send(torch.tensor([(len(place), chunks(len(place))) for place in places])),
            "text": self.place.enter(torch.stack([lengthened(text, words) for text in texts])),
            "text_places": self.place.send(torch.stack([lengthened(line(chunks(len(t))), words) for t in texts])),
            "text_counts": self.place.send(torch.tensor([(len(text), chunks(len(text))) for text in texts])),
            "timestep": (1000 - timesteps(rows, self.place)) / 1000,
        }

    def call(self, networks: Networks, inputs: Inputs) -> Tensor:
        answer: Tensor = networks["transformer"](**inputs)
        return answer

    def split(self, answer: Tensor, rows: Sequence[Row]) -> list[Tensor]:
        """Z-Image says the way from noise to picture, the scheduler wants the way back."""
        return [-picture(tokens, *row.x.shape).to(row.x.dtype) for tokens, row in zip(answer, rows, strict=True)]


def chunks(tokens: int) -> int:
    """With those that fill the last chunk."""
    return -(-tokens // CHUNK) * CHUNK


def picture_class(tokens: int) -> int:
    """The length that pictures of about this many tokens are padded to: four classes from each size to its double."""
    step = max(CHUNK, (1 << (tokens.bit_length() - 1)) // 4)
    return -(-tokens // step) * step


def lengthened(rows: Tensor, length: int) -> Tensor:
    return pad(rows, (0, 0, 0, length - len(rows)))


def patches(x: Tensor) -> Tensor:
    """Latents (C, h, w) to tokens (h / 2 * w / 2, 4 C), channels last."""
    channels, height, width = x.shape
    squares = x.reshape(channels, height // 2, 2, width // 2, 2).permute(1, 3, 2, 4, 0)
    return squares.reshape(-1, 4 * channels)


def picture(tokens: Tensor, channels: int, height: int, width: int) -> Tensor:
    """The way back."""
    squares = tokens[: height * width // 4].reshape(height // 2, width // 2, 2, 2, channels)
    return squares.permute(4, 0, 2, 1, 3).reshape(channels, height, width)


def grid(first: int, height: int, width: int) -> Tensor:
    """Where a picture's tokens are: behind the prompt, then row and column."""
    squares = torch.cartesian_prod(torch.arange(height), torch.arange(width)).int()
    return pad(squares, (1, 0), value=first)


def line(length: int) -> Tensor:
    """Where a prompt's tokens are, from 1."""
    return pad(torch.arange(1, length + 1, dtype=torch.int32)[:, None], (0, 2))
