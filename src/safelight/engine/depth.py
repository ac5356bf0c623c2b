"""How far away everything in a picture is, by an operator's network (DPT, which MiDaS 3 is, or Depth Anything), as a hint
for a ControlNet. Read from a folder as transformers writes it; knows nothing of ControlNets or requests.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import DepthAnythingForDepthEstimation, DPTForDepthEstimation
from transformers.models.dpt.image_processing_pil_dpt import DPTImageProcessorPil

from safelight.engine.components import build, find_in
from safelight.engine.folder import weight_files
from safelight.engine.generation import Pixels
from safelight.engine.weights import Config, Weights, read_config, read_tensors
from safelight.errors import EngineFailed

CLASSES: dict[str, Any] = {kind.__name__: kind for kind in (DPTForDepthEstimation, DepthAnythingForDepthEstimation)}


class Depth:
    """Read when it is first asked. Any thread may ask, one at a time. It computes in float32."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        self._folder = folder
        self._device = device
        self._read: tuple[Any, Any] | None = None
        self._turn = threading.Lock()

    @torch.no_grad()
    def __call__(self, picture: Pixels) -> Pixels:
        """Of the same size, in grey: what is nearest is white."""
        with self._turn:
            if self._read is None:
                self._read = read_depth(self._folder, self._device)
            eye, network = self._read
            seen = eye(images=Image.fromarray(picture), return_tensors="pt")
            answer = network(pixel_values=seen["pixel_values"].to(self._device, torch.float32))
            found = eye.post_process_depth_estimation(answer, [picture.shape[:2]])[0]["predicted_depth"]
        return _grey(found.cpu().float().numpy())


def read_depth(folder: Path, device: torch.device) -> tuple[Any, Any]:
    """What makes tensors of a picture, and the network."""
    config = read_config(folder / "config.json")
    kind = CLASSES.get(str(next(iter(config.get("architectures") or []), None)))
    if kind is None or _elsewhere(config):
        raise EngineFailed(f"{folder.name} is not a depth network that Safelight runs: {', '.join(CLASSES)}")
    weights: Weights = {}
    for file in weight_files(folder):
        weights |= read_tensors(file)
    network = build(kind, config, find_in(weights)).to(device, torch.float32)
    return DPTImageProcessorPil.from_pretrained(folder, local_files_only=True), network


def _elsewhere(config: Config) -> bool:
    """Whether part of the network is to come from a hub."""
    return bool(config.get("use_pretrained_backbone") or config.get("use_timm_backbone"))


def _grey(depth: Any) -> Pixels:
    spread = max(float(depth.max() - depth.min()), 1e-9)
    values = ((depth - depth.min()) / spread * 255.0).astype(np.uint8)
    return np.repeat(values[..., None], 3, axis=2)
