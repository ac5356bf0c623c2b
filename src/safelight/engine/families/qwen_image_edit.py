"""Qwen-Image-Edit and its Plus form (2509, 2511) with one picture: the language model looks at the picture beside the prompt.

The picture's own tokens also stand beside those that are drawn, so it is shown twice, at a size of each.
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
    "<|im_start|>user\n{picture}<|vision_start|><|image_pad|><|vision_end|>{{}}<|im_end|>\n<|im_start|>assistant\n"
)
TEMPLATE_TOKENS = 64  # before the picture; what the language model says of them is not told to the transformer
PICTURE = "<|image_pad|>"
AREA = 1024 * 1024  # pixels of the picture whose tokens stand beside
LONGEST = 8192


class QwenImageEdit(QwenImage):
    pipelines = ("QwenImageEditPipeline",)
    classes: ClassVar[Classes] = QwenImage.classes | {"processor": {"Qwen2VLProcessor": Qwen2VLImageProcessorPil}}
    edits = True
    looks = True
    needs_picture = True
    control = None
    lead: ClassVar[str] = ""  # words before the picture

    def __init__(self, parts: Parts, place: Place, concepts: Sequence[Concept] = ()) -> None:
        super().__init__(parts, place, concepts)
        self._eye: Any = parts.tokenizers["processor"]
        self._mark: int = parts.tokenizers["tokenizer"].convert_tokens_to_ids(PICTURE)
        template = TEMPLATE.format(picture=self.lead)
        self._words = Words(parts.tokenizers["tokenizer"], template, LONGEST, place)

    def company(self, generation: Generation, shape: Shape) -> str:
        assert generation.init_image is not None, "a plan of an editing checkpoint has one"
        looked = self._looked_at(self.looked_size(generation.init_image))
        longest = max(self._words.count(prompt) for prompt in self.prompts(generation)) - 1 + looked - TEMPLATE_TOKENS
        beside = self.shape(*self.reference_size(generation.init_image))
        company = f"{shape[1]}x{shape[2]} beside {beside[1]}x{beside[2]}"
        return f"{company}, {length_class(longest)} tokens"

    def reference_size(self, init: Pixels) -> tuple[int, int]:
        return sized(init, AREA)

    def looked_size(self, init: Pixels) -> tuple[int, int]:
        """The width and height at which the language model looks at the picture."""
        return self.reference_size(init)

    def _looked_at(self, size: tuple[int, int]) -> int:
        """Tokens of the language model."""
        patches: int = self._eye.get_number_of_image_patches(size[1], size[0])
        merged: int = self._eye.merge_size**2
        return patches // merged

    def read_beside(self, networks: Networks, prompts: Sequence[str], picture: Pixels) -> list[Conditioning]:
        size = self.looked_size(picture)
        seen = self._eye(images=images.resize(picture, *size), return_tensors="pt")
        told = {
            "pixel_values": self.place.text.enter(seen["pixel_values"]),
            "image_grid_thw": self.place.text.enter(seen["image_grid_thw"]),
        }
        return [self._read_one(networks, self._expanded(prompt, self._looked_at(size)), told) for prompt in prompts]

    def _expanded(self, prompt: str, count: int) -> Tensor:
        """The ids (1, L), with as many marks as the picture has tokens."""
        ids = self._words(prompt)[0]
        at = int((ids == self._mark).nonzero()[0])
        return torch.cat([ids[:at], ids[at : at + 1].repeat(count), ids[at + 1 :]])[None]

    def _read_one(self, networks: Networks, ids: Tensor, told: dict[str, Tensor]) -> Conditioning:
        answer = networks["text_encoder"](
            ids, attention_mask=torch.ones_like(ids), **told, output_hidden_states=True, logits_to_keep=1
        )
        return Conditioning(answer.hidden_states[-1][0, TEMPLATE_TOKENS:])


class QwenImageEditPlus(QwenImageEdit):
    """The language model looks at a smaller picture, which has a number."""

    pipelines = ("QwenImageEditPlusPipeline",)
    lead = "Picture 1: "

    def looked_size(self, init: Pixels) -> tuple[int, int]:
        return sized(init, LOOKED_AREA)


LOOKED_AREA = 384 * 384


def sized(picture: Pixels, area: int) -> tuple[int, int]:
    """About so many pixels in the picture's aspect, in whole multiples of 32."""
    aspect = picture.shape[1] / picture.shape[0]
    width = math.sqrt(area * aspect)
    return round(width / 32) * 32, round(width / aspect / 32) * 32
