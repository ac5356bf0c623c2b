"""Pictures to latents and back: the autoencoders of all families, each with its own measure and number of frames.

A latent that the denoiser sees has about unit variance; ``shrink`` makes it of a sample of the encoder's posterior.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from safelight.engine.update import send


@dataclass(frozen=True, slots=True)
class Place:
    """Where networks compute, in which number type, and how pictures lie in memory there."""

    device: torch.device
    dtype: torch.dtype
    layout: torch.memory_format = torch.contiguous_format
    encoders: torch.device | None = None  # where prompts are read, if elsewhere

    @property
    def text(self) -> Place:
        """Where text encoders compute."""
        return self if self.encoders is None else replace(self, device=self.encoders, encoders=None)

    def enter(self, tensor: Tensor) -> Tensor:
        """Whole numbers stay what they are."""
        if not tensor.is_floating_point():
            return tensor.to(self.device)
        layout = self.layout if tensor.ndim == 4 else torch.preserve_format
        return tensor.to(self.device, self.dtype, memory_format=layout)

    def settle(self, network: nn.Module) -> None:
        """Put a network there. Only weights of pictures have a layout; those of frames (Qwen-Image's) keep theirs."""
        # nn.Module's own: diffusers' override warns of parts to keep in float32 and then names none
        nn.Module.to(network, device=self.device, dtype=self.dtype)
        for weight in network.parameters():
            if weight.ndim == 4:
                weight.data = weight.data.to(memory_format=self.layout)

    def send(self, tensor: Tensor) -> Tensor:
        """Numbers from the host, as they are."""
        return send(tensor, self.device)


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """The posterior of encoded pictures, as the encoder gives it."""

    mean: Tensor  # (B, C, h, w)
    std: Tensor  # (B, C, h, w)


class Autoencoder(Protocol):
    channels: int  # of the latents
    side: int  # pixels of a picture for each of its latents, in either direction

    def look(self, pixels: Tensor) -> Moments:
        """Pictures (B, 3, H, W) in [-1, 1] through the encoder."""

    def shrink(self, sample: Tensor) -> Tensor:
        """A sample of the posterior to latents, (C, h, w) or (B, C, h, w)."""

    def grow(self, latents: Tensor) -> Tensor:
        """The way back."""

    def decode(self, latents: Tensor) -> Tensor:
        """Latents (B, C, h, w) to pictures (B, 3, H, W) in [-1, 1]."""


class Kl:
    """AutoencoderKL: one scale for all channels, and since Stable Diffusion 3 a shift."""

    def __init__(self, network: nn.Module, place: Place) -> None:
        self._network: Any = network
        self._place = place
        config: Any = self._network.config
        self.channels: int = config["latent_channels"]
        self.side: int = 2 ** (len(config["block_out_channels"]) - 1)
        self._scale: float = config["scaling_factor"]
        self._shift: float | None = config.get("shift_factor")

    def look(self, pixels: Tensor) -> Moments:
        posterior = self._network.encode(self._place.enter(pixels)).latent_dist
        return Moments(posterior.mean.float(), posterior.std.float())

    def shrink(self, sample: Tensor) -> Tensor:
        return (sample if self._shift is None else sample - self._shift) * self._scale

    def grow(self, latents: Tensor) -> Tensor:
        grown = latents / self._scale
        return grown if self._shift is None else grown + self._shift

    def decode(self, latents: Tensor) -> Tensor:
        pixels: Tensor = self._network.decode(self._place.enter(self.grow(latents))).sample
        return pixels.float()
