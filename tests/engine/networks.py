"""Small random upscalers, as files in the layouts that the world's have."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

from safelight.engine.upscalers import Compact, Dense


def a_dense(path: Path, fold: int = 1, blocks: int = 1) -> Path:
    """Real-ESRGAN's deep network: fourfold, or with ``fold`` 2 twofold."""
    return _written(Dense(8, 4, blocks, fold), path)


def a_compact(path: Path, factor: int = 2) -> Path:
    return _written(Compact(8, 2, factor), path)


def _written(network: torch.nn.Module, path: Path) -> Path:
    made = torch.Generator().manual_seed(3)
    weights = {
        f"params_ema.{name}": torch.randn(weight.shape, generator=made) * 0.05
        for name, weight in network.state_dict().items()
    }
    save_file(weights, path)
    return path
