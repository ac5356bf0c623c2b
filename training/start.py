"""Starting from a checkpoint instead of from random weights: its parts become the first save of every stage.

The text encoder is kept as it is, for the image model has learned to read its states; it counts as trained.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextModel

from training.checkpoint import save
from training.networks import Network


def begin(folder: Path, work: Path) -> None:
    """Once: a run that has already begun goes on from where it is."""
    if (work / "text.pt").exists():
        return
    coder, model, words = (
        part(AutoencoderKL, folder / "vae"),
        part(UNet2DConditionModel, folder / "unet"),
        part(CLIPTextModel, folder / "text_encoder"),
    )
    save(work / "autoencoder.pt", net=coder, average=coder, scale=float(coder.config.scaling_factor))
    save(work / "unet.pt", net=model, average=model)
    save(work / "text.pt", net=words, used=math.inf)


def blend(net: Network, folder: Path, share: float) -> Network:
    """An image model between the one that a run started from and what it became: often better than both (Wortsman et al. 2022)."""
    before = part(UNet2DConditionModel, folder / "unet").state_dict()
    net.load_state_dict({name: torch.lerp(before[name], after, share) for name, after in net.state_dict().items()})
    return net


def part(kind: Any, folder: Path) -> Any:
    return kind.from_pretrained(folder, torch_dtype=torch.float32)
