"""Stable Diffusion 2 Depth: a picture made anew in the shape of another, whose depth a network of its own estimates (DPT).

The depth is a fifth channel beside the latents. The picture is started from too, so strength says how much of it is left.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from transformers import DPTForDepthEstimation
from transformers.models.dpt.image_processing_pil_dpt import DPTImageProcessorPil

from safelight.engine.families.family import Classes, Shape
from safelight.engine.families.stable_diffusion import StableDiffusion
from safelight.engine.generation import Pixels

DEPTH_READERS = ("DPTImageProcessor", "DPTImageProcessorPil", "DPTFeatureExtractor")


class Depth2Img(StableDiffusion):
    pipelines: ClassVar[tuple[str, ...]] = ("StableDiffusionDepth2ImgPipeline",)
    classes: ClassVar[Classes] = StableDiffusion.classes | {
        "depth_estimator": {"DPTForDepthEstimation": DPTForDepthEstimation},
        "feature_extractor": dict.fromkeys(DEPTH_READERS, DPTImageProcessorPil),
    }
    needs_picture = True
    sees = True

    @classmethod
    def tasks(cls, config: Mapping[str, Any]) -> tuple[str, ...]:
        del config
        return ("depth2img",)

    @property
    def masks(self) -> bool:
        return False

    def see(self, picture: Pixels, shape: Shape) -> Tensor:
        """What is near and what is far, from 1 to -1."""
        look: Any = self.tokenizers["feature_extractor"]
        pixels = look(images=picture, return_tensors="pt").pixel_values
        depth = self.networks["depth_estimator"](self.place.enter(pixels)).predicted_depth.float()[:, None]
        sized = torch.nn.functional.interpolate(depth, size=shape[1:], mode="bicubic", align_corners=False)
        least, most = torch.aminmax(sized)
        flat = torch.zeros_like(sized[0])
        return flat if least == most else 2 * (sized[0] - least) / (most - least) - 1
