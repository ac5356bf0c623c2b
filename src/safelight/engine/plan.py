"""What a request asks for, checked and made ready off the engine's thread: table, size, pictures as tensors.

A plan holds everything about a request that needs neither its seeds nor the model's weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from safelight.engine import images
from safelight.engine.generation import Generation, LoraUse, Pixels
from safelight.engine.model import Model
from safelight.engine.samplers import Samplers, Table, canonical
from safelight.errors import Invalid


class Bucket(NamedTuple):
    """Rows that may share a call of the model."""

    model: str
    loras: tuple[LoraUse, ...]
    height: int  # of the latents
    width: int


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """The picture that a request starts from."""

    pixels: Tensor  # (1, 3, H, W) in [-1, 1]
    digest: str
    masked_pixels: Tensor | None  # the same, grey where it is to be repainted
    masked_digest: str
    mask: Tensor | None  # (1, h, w) at the latents' size; 1 is repainted


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """A request made ready for one model."""

    generation: Generation
    model: Model
    table: Table
    width: int  # as drawn, in pixels
    height: int
    source: Source | None

    @property
    def guided(self) -> bool:
        return self.generation.guidance_scale > 1.0

    @property
    def rows(self) -> int:
        return 2 if self.guided else 1

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of the latents."""
        scale = self.model.vae_scale
        return self.model.latent_channels, self.height // scale, self.width // scale

    @property
    def bucket(self) -> Bucket:
        return Bucket(self.model.name, self.generation.loras, *self.shape[1:])


def check(generation: Generation) -> None:
    """Whatever can be known to be wrong before a model is at hand."""
    g = generation
    for side in ("width", "height"):
        if getattr(g, side) < 8 or getattr(g, side) % 8:
            raise Invalid(side, "must be a positive multiple of 8")
    if g.samples < 1:
        raise Invalid("samples", "must be at least 1")
    if g.steps < 1:
        raise Invalid("steps", "must be at least 1")
    if not math.isfinite(g.guidance_scale):
        raise Invalid("guidance_scale", "must be a finite number")
    if not 0 < g.strength <= 1:
        raise Invalid("strength", "must be above 0 and at most 1")
    if not 0 <= g.seed < 2**32:
        raise Invalid("seed", "must be between 0 and 4294967295")
    if g.clip_skip < 1:
        raise Invalid("clip_skip", "must be at least 1")
    if g.mask_image is not None and g.init_image is None:
        raise Invalid("init_image", "is required with mask_image")
    if g.init_image is not None and (g.init_image.ndim != 3 or g.init_image.shape[2] != 3):
        raise Invalid("init_image", "must be an RGB picture")
    if g.mask_image is not None and g.mask_image.ndim != 2:
        raise Invalid("mask_image", "must be a greyscale picture")
    if g.sampler is not None:
        canonical(g.sampler)


def make_plan(generation: Generation, model: Model, samplers: Samplers) -> Plan:
    if model.unet_channels != model.latent_channels and generation.mask_image is None:
        raise Invalid("mask_image", f"is required by {model.name}, which is an inpainting checkpoint")
    table = samplers.table(model.scheduler(), generation)
    width, height = drawn_size(generation.width, generation.height, model.native_size)
    source = None
    if generation.init_image is not None:
        source = _source(generation.init_image, generation.mask_image, width, height, model.vae_scale)
    return Plan(generation, model, table, width, height, source)


def drawn_size(width: int, height: int, native: int | None) -> tuple[int, int]:
    """The size at which a checkpoint draws: as asked, or as many pixels as its native square in that aspect."""
    if native is None:
        return width, height
    aspect = math.sqrt(width / height)
    return max(8, round(native * aspect / 8) * 8), max(8, round(native / aspect / 8) * 8)


def _source(init: Pixels, mask: Pixels | None, width: int, height: int, vae_scale: int) -> Source:
    pixels = images.to_tensor(init, width, height)
    content = f"{images.digest(init)} {width}x{height}"
    if mask is None:
        return Source(pixels, content, None, "", None)
    repainted = images.mask_to_tensor(mask, width, height)
    latent_size = (height // vae_scale, width // vae_scale)
    return Source(
        pixels,
        content,
        pixels * (repainted < 0.5),
        f"{content} {images.digest(mask)}",
        torch.nn.functional.interpolate(repainted, size=latent_size)[0],
    )
