"""A small network that makes a picture two or four times as large, with edges as sharp as the larger picture would have.

It adds to a bicubic enlargement what that leaves soft. A picture goes through it alone and on the CPU, so that its
bytes depend on nothing else. Knows nothing of what drew the picture; `training/enlarger.py` made its weights.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from safelight.engine import images
from safelight.engine.generation import Pixels

WEIGHTS = Path(__file__).parent / "enlarger.safetensors"
WIDTH, BLOCKS = 32, 3
WORTH_IT = 1.25  # times as large: less is for a filter
LARGEST = 1024**2  # pixels that it is given: beyond them memory is worth more than an edge


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = around(width, width), around(width, width)

    def forward(self, seen: Tensor) -> Tensor:
        added: Tensor = self.second(functional.relu(self.first(seen)))
        return seen + added


class Network(nn.Module):
    """(n, 3, h, w) in [0, 1] to the same, `factor` times as high and wide."""

    def __init__(self, width: int = WIDTH, blocks: int = BLOCKS) -> None:
        super().__init__()
        self.enter = around(3, width)
        self.blocks = nn.Sequential(*(Block(width) for _ in range(blocks)))
        self.twice, self.fourfold = around(width, 3 * 2**2), around(width, 3 * 4**2)

    def forward(self, pictures: Tensor, factor: int) -> Tensor:
        seen = self.blocks(self.enter(pictures))
        detail: Tensor = (self.twice if factor == 2 else self.fourfold)(seen)
        soft = functional.interpolate(pictures, scale_factor=factor, mode="bicubic")
        return soft + functional.pixel_shuffle(detail, factor)


def around(entering: int, leaving: int) -> nn.Conv2d:
    return nn.Conv2d(entering, leaving, 3, padding=1, padding_mode="replicate")


@cache
def network() -> Network:
    net = Network()
    net.load_state_dict({name: weights.float() for name, weights in load_file(WEIGHTS).items()})
    channels_last: Any = net.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs leave it out
    return channels_last  # type: ignore[no-any-return]


def enlarge(pixels: Pixels, width: int, height: int) -> Pixels:
    """To the asked size: fourfold or twofold as often as it takes, and what that is too large made smaller."""
    while missing_times(pixels, width, height) > WORTH_IT and pixels.shape[0] * pixels.shape[1] <= LARGEST:
        pixels = times(pixels, 4 if missing_times(pixels, width, height) > 2 else 2)
    return images.resize(pixels, width, height)


def missing_times(pixels: Pixels, width: int, height: int) -> float:
    return max(width / int(pixels.shape[1]), height / int(pixels.shape[0]))


@torch.inference_mode()
def times(pixels: Pixels, factor: int) -> Pixels:
    unit = torch.from_numpy(pixels.astype(np.float32) / 255).permute(2, 0, 1)[None]
    larger = network()(unit.contiguous(memory_format=torch.channels_last), factor)
    bytes_: Pixels = larger[0].clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).contiguous().numpy()
    return bytes_
