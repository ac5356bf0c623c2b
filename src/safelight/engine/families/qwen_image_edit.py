"""Qwen-Image-Edit and its Plus form (2509, 2511): the language model looks at the pictures beside the prompt.

The pictures' own tokens also stand beside those that are drawn, so each is shown twice, at a size of each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from safelight.engine import images
from safelight.engine.families.autoencoder import Place
from safelight.engine.families.family import Classes, Conditioning, Networks, Parts, Shape
from safelight.engine.families.qwen_image import QwenImage
from safelight.engine.families.text import Words, length_class
from safelight.engine.generation import Generation, Pixels
from safelight.engine.textual_inversion import Concept

TEMPLATE = (
    "<|im_start|>system\nDescribe the key features of the input image (color, shape, size, texture, objects, background), "
    "then explain how the user's text instruction should alter or modify the image. Generate a new image that meets the "
    "user's requirements while maintaining consistency with the original input where appropriate.<|im_end|>\n"
    "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
)
TEMPLATE_TOKENS = 64  # before the pictures; what the language model says of them is not told to the transformer
MARK = "<|image_pad|>"  # as many as a picture has tokens
PICTURE = f"<|vision_start|>{MARK}<|vision_end|>"
AREA = 1024 * 1024  # pixels of a picture whose tokens stand beside
LONGEST = 8192


class QwenImageEdit(QwenImage):
    pipelines = ("QwenImageEditPipeline",)
    classes: ClassVar[Classes] = QwenImage.classes | {"processor": {"Qwen2VLProcessor": Qwen2VLImageProcessorPil}}
    most_pictures = 1
    looks = True
    needs_picture = True
    control = None
    lead: ClassVar[str] = ""  # words before each picture

    def __init__(self, parts: Parts, place: Place, concepts: Sequence[Concept] = ()) -> None:
        super().__init__(parts, place, concepts)
        self._eye: Any = parts.tokenizers["processor"]
        self._mark: int = parts.tokenizers["tokenizer"].convert_tokens_to_ids(MARK)
        self._words = Words(parts.tokenizers["tokenizer"], TEMPLATE, LONGEST, place)

    def company(self, generation: Generation, shape: Shape) -> str:
        pictures = generation.pictures
        marks = sum(self._looked_at(self.looked_size(picture)) - 1 for picture in pictures)
        prompts = [self._about(len(pictures), prompt) for prompt in self.prompts(generation)]
        longest = max(map(self._words.count, prompts)) + marks - TEMPLATE_TOKENS
        company = f"{shape[1]}x{shape[2]} beside {self.sizes_beside(generation)}"
        return f"{company}, {length_class(longest)} tokens"

    def _about(self, count: int, prompt: str) -> str:
        """A prompt after the pictures that it speaks of."""
        return "".join(self.lead.format(i + 1) + PICTURE for i in range(count)) + prompt

    def reference_size(self, init: Pixels) -> tuple[int, int]:
        return sized(init, AREA)

    def looked_size(self, init: Pixels) -> tuple[int, int]:
        """The width and height at which the language model looks at a picture."""
        return self.reference_size(init)

    def _looked_at(self, size: tuple[int, int]) -> int:
        """Tokens of the language model."""
        patches: int = self._eye.get_number_of_image_patches(size[1], size[0])
        merged: int = self._eye.merge_size**2
        return patches // merged

    def read_beside(self, networks: Networks, prompts: Sequence[str], pictures: Sequence[Pixels]) -> list[Conditioning]:
        sizes = [self.looked_size(picture) for picture in pictures]
        resized = [images.resize(picture, *size) for picture, size in zip(pictures, sizes, strict=True)]
        seen = self._eye(images=resized, return_tensors="pt")
        told = {
            "pixel_values": self.place.text.enter(seen["pixel_values"]),
            "image_grid_thw": self.place.text.enter(seen["image_grid_thw"]),
        }
        counts = [self._looked_at(size) for size in sizes]
        return [self._read_one(networks, self._expanded(prompt, counts), told) for prompt in prompts]

    def _expanded(self, prompt: str, counts: Sequence[int]) -> Tensor:
        """The ids (1, L), with as many marks as each picture has tokens."""
        ids = self._words(self._about(len(counts), prompt))[0]
        times = torch.ones_like(ids)
        times[(ids == self._mark).nonzero()[: len(counts), 0]] = torch.tensor(counts).to(ids)
        return ids.repeat_interleave(times)[None]

    def _read_one(self, networks: Networks, ids: Tensor, told: dict[str, Tensor]) -> Conditioning:
        answer = networks["text_encoder"](
            ids, attention_mask=torch.ones_like(ids), **told, output_hidden_states=True, logits_to_keep=1
        )
        return Conditioning(answer.hidden_states[-1][0, TEMPLATE_TOKENS:])


class QwenImageEditPlus(QwenImageEdit):
    """The language model looks at smaller pictures, each of which has a number."""

    pipelines = ("QwenImageEditPlusPipeline",)
    most_pictures = 4
    lead = "Picture {}: "

    def looked_size(self, init: Pixels) -> tuple[int, int]:
        return sized(init, LOOKED_AREA)


LOOKED_AREA = 384 * 384


def sized(picture: Pixels, area: int) -> tuple[int, int]:
    """About so many pixels in the picture's aspect, in whole multiples of 32."""
    aspect = picture.shape[1] / picture.shape[0]
    width = math.sqrt(area * aspect)
    return round(width / 32) * 32, round(width / aspect / 32) * 32
