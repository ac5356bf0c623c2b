"""The kinds of models that Safelight runs, by the names that checkpoints give their pipelines."""

from __future__ import annotations

from safelight.engine.families.depth2img import Depth2Img
from safelight.engine.families.family import Family
from safelight.engine.families.flux import Flux, Kontext
from safelight.engine.families.instruct_pix2pix import InstructPix2Pix
from safelight.engine.families.pixart import PixArt
from safelight.engine.families.qwen_image import QwenImage
from safelight.engine.families.qwen_image_edit import QwenImageEdit, QwenImageEditPlus
from safelight.engine.families.sd3 import StableDiffusion3
from safelight.engine.families.stable_diffusion import StableDiffusion
from safelight.engine.families.z_image import ZImage

FAMILIES: tuple[type[Family], ...] = (
    StableDiffusion,
    InstructPix2Pix,
    Depth2Img,
    StableDiffusion3,
    Flux,
    Kontext,
    QwenImage,
    QwenImageEdit,
    QwenImageEditPlus,
    ZImage,
    PixArt,
)


def family_of(pipeline: str) -> type[Family] | None:
    return next((family for family in FAMILIES if pipeline in family.pipelines), None)
