"""Depth by a small random network of each class: the hint is that of transformers' own pipeline."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    DepthAnythingConfig,
    DepthAnythingForDepthEstimation,
    Dinov2Config,
    DPTConfig,
    DPTForDepthEstimation,
    pipeline,
)
from transformers.models.dpt.image_processing_pil_dpt import DPTImageProcessorPil

from safelight.engine.depth import Depth
from safelight.engine.hints import to_hint
from safelight.errors import EngineFailed, Invalid

from .checkpoints import seeded
from .oracle import picture

VIT: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2, "image_size": 56}
VIT["patch_size"] = 14


def write_dpt(folder: Path) -> Path:
    config = DPTConfig(
        **VIT,
        intermediate_size=64,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[16, 16, 32, 32],
        fusion_hidden_size=16,
        is_hybrid=False,
    )
    return written(DPTForDepthEstimation, config, folder)


def write_depth_anything(folder: Path) -> Path:
    backbone = Dinov2Config(**VIT, mlp_ratio=2, out_indices=[1, 2, 3, 4], reshape_hidden_states=False)
    config = DepthAnythingConfig(
        backbone_config=backbone,
        patch_size=14,
        reassemble_hidden_size=32,
        neck_hidden_sizes=[8, 8, 16, 16],
        fusion_hidden_size=8,
        head_hidden_size=8,
    )
    return written(DepthAnythingForDepthEstimation, config, folder)


def written(kind: Any, config: Any, folder: Path) -> Path:
    seeded(kind, 0, config).eval().save_pretrained(folder)
    size = {"height": 56, "width": 56}
    wide = kind is DepthAnythingForDepthEstimation  # the other reads squares
    DPTImageProcessorPil(size=size, keep_aspect_ratio=wide, ensure_multiple_of=14).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("write", "kind"),
    [(write_dpt, DPTForDepthEstimation), (write_depth_anything, DepthAnythingForDepthEstimation)],
)
def test_a_hint_of_depth_is_that_of_transformers(write: Callable[[Path], Path], kind: Any, tmp_path: Path) -> None:
    folder, photo = write(tmp_path / "depth"), picture(96, 64, seed=2)
    eye = DPTImageProcessorPil.from_pretrained(folder)
    truth = pipeline("depth-estimation", model=kind.from_pretrained(folder), image_processor=eye)(
        Image.fromarray(photo)
    )
    depth = {"depth": Depth(folder, torch.device("cpu"))}
    hint = (to_hint("depth", photo, None, 96, 64, depth)[0] * 255).round().numpy()
    assert hint.shape == (3, 64, 96)
    assert hint.max() == 255
    assert np.abs(hint - np.asarray(truth["depth"], np.float32)).max() <= 1


def test_without_a_network_and_of_another_class_it_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="SAFELIGHT_DEPTH names one"):
        to_hint("depth", picture(), None, 64, 64)
    folder = write_dpt(tmp_path / "other")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"architectures": ["ZoeDepthForDepthEstimation"]}))
    with pytest.raises(EngineFailed, match="is not a depth network that Safelight runs"):
        Depth(folder, torch.device("cpu"))(picture())
