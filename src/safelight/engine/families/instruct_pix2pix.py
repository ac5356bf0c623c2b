"""InstructPix2Pix (Brooks et al. 2023): Stable Diffusion that edits by instruction; the picture's latents stand beside those drawn.

A guided picture takes three rows: shown nothing, shown the picture, and told what to change too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from torch import Tensor

from safelight.engine.families.autoencoder import Moments
from safelight.engine.families.family import Inputs, Row
from safelight.engine.families.stable_diffusion import StableDiffusion

EDITING = 8  # channels that such a UNet reads: latents, picture


class InstructPix2Pix(StableDiffusion):
    pipelines: ClassVar[tuple[str, ...]] = ("StableDiffusionInstructPix2PixPipeline",)
    most_pictures = 1
    holds = True
    needs_picture = True

    @classmethod
    def tasks(cls, config: Mapping[str, Any]) -> tuple[str, ...]:
        del config
        return ("pix2pix",)

    @property
    def extra_channels(self) -> int:
        return 0

    def shown(self, moments: Moments) -> Tensor:
        """As the encoder gives it, not brought to unit variance: so the network was trained."""
        return moments.mean[0]

    def gather(self, rows: Sequence[Row]) -> Inputs:
        return super().gather([replace(row, extra=row.references[0]) for row in rows])
