"""Small previews while a picture is being made: a linear map from latents to RGB, fitted to the decoder.

Knows nothing of samplers; what it is shown is already the finished picture as the model sees it coming.
"""

from __future__ import annotations

import torch
from torch import Tensor

from safelight.engine import images
from safelight.engine.generation import Pixels
from safelight.engine.model import Model


class Previews:
    """One map per checkpoint, fitted when first asked for: a few small pictures are decoded, a plane laid through."""

    def __init__(self) -> None:
        self._maps: dict[str, Tensor] = {}

    def draw(self, model: Model, latents: Tensor) -> Pixels:
        """Latents (C, h, w) to a picture of h x w pixels."""
        if model.name not in self._maps:
            self._maps[model.name] = fit(model)
        with_one = torch.cat([latents.float().cpu(), torch.ones(1, *latents.shape[1:])])
        return images.to_pixels(torch.einsum("chw,cr->rhw", with_one, self._maps[model.name]))


def fit(model: Model) -> Tensor:
    """(C + 1, 3): the RGB of a latent pixel by least squares, its last row the constant."""
    channels = model.family.autoencoder.channels
    coarse = torch.randn(4, channels, 4, 4, generator=torch.Generator().manual_seed(0))
    latents = torch.nn.functional.interpolate(coarse, scale_factor=2.0, mode="bilinear")  # (4, C, 8, 8)
    colours = torch.nn.functional.adaptive_avg_pool2d(model.decode(latents.to(model.device)).cpu(), (8, 8))
    points = latents.movedim(1, -1).reshape(-1, channels)
    points = torch.cat([points, torch.ones(len(points), 1)], dim=1)
    plane: Tensor = torch.linalg.lstsq(points, colours.movedim(1, -1).reshape(-1, 3)).solution
    return plane
