"""One loaded checkpoint and the four things it can do: read prompts, encode pictures, denoise rows, decode latents.

A row is one latent; rows of one call may be at any timestep and follow any prompt. Knows nothing of requests, samplers
or who asked; weights are never changed after loading, so a LoRA is applied on the way through and leaves no trace.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

import torch
from diffusers import SchedulerMixin
from torch import Tensor, nn

from safelight.engine.checkpoint import read_components
from safelight.engine.components import Components, TextEncoder

Part = TypeVar("Part", bound=nn.Module)


@dataclass(frozen=True, slots=True, eq=False)
class Conditioning:
    """What one row is told to draw."""

    embedding: Tensor  # (77, D)
    pooled: Tensor | None = None  # (P,), SDXL
    time_ids: Tensor | None = None  # (6,), SDXL; None: the row's own size, uncropped


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """The posterior of encoded pictures, not scaled: latents are (mean + std * noise) * scaling_factor."""

    mean: Tensor  # (B, 4, h, w)
    std: Tensor  # (B, 4, h, w)


class Model:
    """A checkpoint in memory. Every method may be called from any thread."""

    def __init__(
        self,
        name: str,
        components: Components,
        *,
        device: torch.device,
        dtype: torch.dtype,
        channels_last: bool = False,
    ) -> None:
        self.name = name
        self.device = device
        self.dtype = dtype
        self._layout = torch.channels_last if channels_last else torch.contiguous_format
        self._unet = self._place(components.unet)
        self._vae = self._place(components.vae)
        self._encoders = tuple(TextEncoder(e.tokenizer, self._place(e.model)) for e in components.text_encoders)
        self._components = components
        self._tokenizing = threading.Lock()
        self.native_size: int | None = components.notes.get("native_size")
        self.latent_channels: int = components.vae.config["latent_channels"]
        self.unet_channels: int = components.unet.config["in_channels"]
        self.vae_scale: int = 2 ** (len(components.vae.config["block_out_channels"]) - 1)
        self.scaling_factor: float = components.vae.config["scaling_factor"]

    @classmethod
    def load(cls, path: Path, name: str | None = None, *, device: torch.device, dtype: torch.dtype) -> Self:
        return cls(name or path.stem, read_components(path), device=device, dtype=dtype)

    def _place(self, part: Part) -> Part:
        # nn.Module's own: diffusers' override warns of parts to keep in float32 and then names none
        nn.Module.to(part, device=self.device, dtype=self.dtype, memory_format=self._layout)  # type: ignore[call-overload]
        return part

    @property
    def bytes(self) -> int:
        parts: list[nn.Module] = [self._unet, self._vae, *(encoder.model for encoder in self._encoders)]
        return sum(weight.nbytes for part in parts for weight in part.parameters())

    def scheduler(self) -> SchedulerMixin:
        """A fresh scheduler, configured as the checkpoint asks."""
        return self._components.scheduler_class.from_config(self._components.scheduler_config)

    @torch.no_grad()
    def encode_text(self, prompts: Sequence[str], clip_skip: int = 1) -> list[Conditioning]:
        """Read prompts. ``clip_skip`` 1 takes the last hidden layer, 2 the one before.

        That is diffusers' ``clip_skip`` plus one; diffusers applies it to the prompt and not to the negative prompt.
        """
        if len(self._encoders) == 1:
            return [Conditioning(row) for row in self._last_hidden(self._encoders[0], prompts, clip_skip)]
        outputs = [self._run_encoder(encoder, prompts) for encoder in self._encoders]
        rows = torch.cat([output.hidden_states[-(clip_skip + 1)] for output in outputs], dim=-1)  # (B, 77, D1 + D2)
        return [Conditioning(row, pooled) for row, pooled in zip(rows, outputs[-1].text_embeds, strict=True)]

    def _last_hidden(self, encoder: TextEncoder, prompts: Sequence[str], clip_skip: int) -> Tensor:
        output = self._run_encoder(encoder, prompts)
        if clip_skip == 1:
            last: Tensor = output.last_hidden_state  # (B, 77, D)
            return last
        text_model = getattr(encoder.model, "text_model", encoder.model)
        normed: Tensor = text_model.final_layer_norm(output.hidden_states[-clip_skip])
        return normed

    def _run_encoder(self, encoder: TextEncoder, prompts: Sequence[str]) -> Any:
        return encoder.model(self._tokenize(encoder, prompts).to(self.device), output_hidden_states=True)

    def _tokenize(self, encoder: TextEncoder, prompts: Sequence[str]) -> Tensor:
        length = encoder.model.config.max_position_embeddings
        with self._tokenizing:  # padding is a state of the tokenizer, so two threads may not share it
            tokens = encoder.tokenizer(
                list(prompts), padding="max_length", max_length=length, truncation=True, return_tensors="pt"
            )
        ids: Tensor = tokens.input_ids  # (B, 77)
        return ids

    @torch.no_grad()
    def encode_image(self, pixels: Tensor) -> Moments:
        """Pictures (B, 3, H, W) in [-1, 1] to the moments of their latents."""
        posterior = self._vae.encode(self._enter(pixels)).latent_dist
        return Moments(posterior.mean.float(), posterior.std.float())

    @torch.no_grad()
    def denoise(
        self, x: Tensor, timesteps: Tensor, conditioning: Sequence[Conditioning], extra: Tensor | None = None
    ) -> Tensor:
        """One UNet call on rows (B, 4, h, w), already scaled; ``extra`` holds the 5 channels of an inpainting model."""
        rows = x if extra is None else torch.cat([x, extra.to(x)], dim=1)
        context = torch.stack([c.embedding for c in conditioning]).to(self.device, self.dtype)  # (B, 77, D)
        added = self._added_conditions(rows, conditioning)
        output: Tensor = self._unet(
            self._enter(rows), timesteps.to(self.device), context, added_cond_kwargs=added
        ).sample
        return output.to(x.dtype)

    def _added_conditions(self, rows: Tensor, conditioning: Sequence[Conditioning]) -> dict[str, Tensor] | None:
        pooled = [c.pooled for c in conditioning if c.pooled is not None]
        if not pooled:
            return None
        height, width = (side * self.vae_scale for side in rows.shape[-2:])
        whole = torch.tensor([height, width, 0, 0, height, width])
        time_ids = torch.stack([whole if c.time_ids is None else c.time_ids for c in conditioning])  # (B, 6)
        text_embeds = torch.stack(pooled)  # (B, P)
        return {
            "text_embeds": text_embeds.to(self.device, self.dtype),
            "time_ids": time_ids.to(self.device, self.dtype),
        }

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Scaled latents (B, 4, h, w) to pictures (B, 3, H, W) in [-1, 1]."""
        pixels: Tensor = self._vae.decode(self._enter(latents / self.scaling_factor)).sample
        return pixels.float()

    def _enter(self, tensor: Tensor) -> Tensor:
        return tensor.to(device=self.device, dtype=self.dtype, memory_format=self._layout)
