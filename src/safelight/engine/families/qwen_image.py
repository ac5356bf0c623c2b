"""Qwen-Image: a transformer that reads a Qwen2.5-VL language model's hidden states, as many as the prompt has words for.

Prompts of a call are padded to one length under a mask. The pictures are still ones of a video autoencoder.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from diffusers import AutoencoderKLQwenImage, QwenImageControlNetModel, QwenImageTransformer2DModel
from torch import Tensor, nn
from transformers import Qwen2_5_VLForConditionalGeneration

from safelight.engine.families import additions, tokens
from safelight.engine.families.additions import Additions, Control
from safelight.engine.families.autoencoder import Autoencoder, Moments, Place
from safelight.engine.families.family import (
    Classes,
    Conditioning,
    Family,
    Inputs,
    Networks,
    Parts,
    Row,
    Shape,
    references,
    timesteps,
)
from safelight.engine.families.text import QWEN_TOKENIZERS, Words, length_class, padded_texts
from safelight.engine.flow import Schedule
from safelight.engine.generation import Generation
from safelight.engine.textual_inversion import Concept

TEMPLATE = (
    "<|im_start|>system\nDescribe the image by detailing the color, shape, size, texture, quantity, text, spatial "
    "relationships of the objects and background:<|im_end|>\n<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
)
TEMPLATE_TOKENS = 34  # before the prompt; what the language model says of them is not told to the transformer
WIDTHS = ("in_channels", "num_attention_heads", "attention_head_dim", "joint_attention_dim")
LONGEST = 512  # tokens of a prompt and what follows it


class QwenImage(Family):
    pipelines = tuple(f"QwenImage{task}Pipeline" for task in ("", "Img2Img", "Inpaint"))
    classes: ClassVar[Classes] = {
        "transformer": {"QwenImageTransformer2DModel": QwenImageTransformer2DModel},
        "vae": {"AutoencoderKLQwenImage": AutoencoderKLQwenImage},
        "text_encoder": {"Qwen2_5_VLForConditionalGeneration": Qwen2_5_VLForConditionalGeneration},
        "tokenizer": QWEN_TOKENIZERS,
    }
    row = 184, 3072
    control: ClassVar[Control | None] = Control(QwenImageControlNetModel, WIDTHS, latents=True, drawn=True)

    def __init__(self, parts: Parts, place: Place, concepts: Sequence[Concept] = ()) -> None:
        super().__init__(parts, place, concepts)
        self._config: Any = parts.networks["transformer"].config
        self._words = Words(parts.tokenizers["tokenizer"], TEMPLATE, TEMPLATE_TOKENS + LONGEST, place)

    def autoencoder_of(self, network: nn.Module) -> Autoencoder:
        return Frames(network, self.place)

    def company(self, generation: Generation, shape: Shape) -> str:
        longest = max(self._words.count(prompt) for prompt in self.prompts(generation)) - TEMPLATE_TOKENS
        return f"{shape[1]}x{shape[2]}, {length_class(longest)} tokens"

    def trial_prompts(self, generation: Generation) -> list[str]:
        return [generation.prompt, generation.negative_prompt]

    def schedule(self, shape: Shape) -> Schedule:
        return tokens.schedule(*shape[1:])

    def settle(self, pushed: Tensor, told: Tensor) -> Tensor:
        """Guidance changes where a token goes, not how far."""
        pushed_tokens, told_tokens = tokens.pack(pushed[None]), tokens.pack(told[None])
        lengths = [torch.norm(each, dim=-1, keepdim=True) for each in (told_tokens, pushed_tokens)]
        return tokens.unpack(pushed_tokens * (lengths[0] / lengths[1]), *told.shape[-2:])[0]

    def read(self, networks: Networks, prompts: Sequence[str], clip_skip: int) -> list[Conditioning]:
        """Each alone, so that nothing pads it."""
        del clip_skip
        answers = (
            networks["text_encoder"](self._words(prompt), output_hidden_states=True, logits_to_keep=1)
            for prompt in prompts
        )
        return [Conditioning(answer.hidden_states[-1][0, TEMPLATE_TOKENS:]) for answer in answers]

    def gather(self, rows: Sequence[Row]) -> Inputs:
        text, told = padded_texts([row.text.embedding for row in rows])
        inputs = {
            "hidden_states": torch.stack([row.x for row in rows]),  # (R, C, h, w)
            "timestep": timesteps(rows, self.place),
            "encoder_hidden_states": self.place.enter(text),  # (R, L, D)
            "encoder_hidden_states_mask": told.to(self.place.device),  # (R, L)
        }
        return inputs | references(rows) | additions.gathered(rows)

    def steer(self, network: nn.Module, rows: Sequence[Row], hint: Tensor, scale: float) -> list[Additions]:
        """The prompt's row is asked, without padding, and its answer goes to the negative prompt's too, as in the pipeline."""
        told, _ = self._told(self.gather([replace(rows[-1], references=(), additions=())]))
        count = len(rows[-1].text.embedding)
        told |= {name: told[name][:, :count] for name in ("encoder_hidden_states", "encoder_hidden_states_mask")}
        cond = tokens.pack(self.place.enter(hint[None]))
        samples = network(controlnet_cond=cond, conditioning_scale=scale, **told, return_dict=False)
        layers = self._config["num_layers"]
        return [tuple(additions.spread(samples, layers, math.ceil(layers / len(samples))))] * len(rows)

    def call(self, networks: Networks, inputs: Inputs) -> Tensor:
        told, pictures = self._told(additions.without(inputs))
        if levels := additions.levels(inputs, self._config["num_layers"]):
            told["controlnet_block_samples"] = levels
        return tokens.drawn(networks["transformer"](**told).sample, pictures[0])

    def _told(self, inputs: Inputs) -> tuple[dict[str, Any], list[Tensor]]:
        told, pictures = tokens.told(inputs, self.place)
        told["img_shapes"] = [[(1, picture.shape[2] // 2, picture.shape[3] // 2) for picture in pictures]] * len(
            pictures[0]
        )
        return told, pictures


class Frames:
    """AutoencoderKLQwenImage: each channel of its latents has a mean and a spread; a picture is one frame."""

    def __init__(self, network: nn.Module, place: Place) -> None:
        self._network: Any = network
        self._place = place
        config: Any = self._network.config
        self.channels: int = config["z_dim"]
        self.side: int = 2 ** len(config["temperal_downsample"])
        self._mean = torch.tensor(config["latents_mean"])[:, None, None]
        self._inverse = 1.0 / torch.tensor(config["latents_std"])[:, None, None]

    def look(self, pixels: Tensor) -> Moments:
        posterior = self._network.encode(self._place.enter(pixels[:, :, None])).latent_dist
        return Moments(posterior.mean[:, :, 0].float(), posterior.std[:, :, 0].float())

    def shrink(self, sample: Tensor) -> Tensor:
        return (sample - self._mean.to(sample)) * self._inverse.to(sample)

    def grow(self, latents: Tensor) -> Tensor:
        return latents / self._inverse.to(latents) + self._mean.to(latents)

    def decode(self, latents: Tensor) -> Tensor:
        pixels: Tensor = self._network.decode(self._place.enter(self.grow(latents)[:, :, None])).sample
        return pixels[:, :, 0].float()
