"""How far away everything in a picture is, by an operator's network (DPT, which MiDaS 3 is, or Depth Anything), as a hint
for a ControlNet.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import DepthAnythingForDepthEstimation, DPTForDepthEstimation
from transformers.models.dpt.image_processing_pil_dpt import DPTImageProcessorPil

from safelight.engine.generation import Pixels
from safelight.engine.onlooker import Onlooker

CLASSES: dict[str, Any] = {kind.__name__: kind for kind in (DPTForDepthEstimation, DepthAnythingForDepthEstimation)}


class Depth(Onlooker):
    """In grey: what is nearest is white."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        super().__init__(device)
        self._folder = folder

    def read(self) -> None:
        self._network = self.network(self._folder, "depth network", CLASSES)
        self._eye: Any = DPTImageProcessorPil.from_pretrained(self._folder, local_files_only=True)

    def draw(self, picture: Pixels) -> Pixels:
        seen = self._eye(images=Image.fromarray(picture), return_tensors="pt")
        answer = self._network(pixel_values=seen["pixel_values"].to(self._device, torch.float32))
        found = self._eye.post_process_depth_estimation(answer, [picture.shape[:2]])[0]["predicted_depth"]
        return _grey(found.cpu().float().numpy())


def _grey(depth: Any) -> Pixels:
    spread = max(float(depth.max() - depth.min()), 1e-9)
    values = ((depth - depth.min()) / spread * 255.0).astype(np.uint8)
    return np.repeat(values[..., None], 3, axis=2)
