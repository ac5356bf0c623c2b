"""Weights in 8 or 4 bits: linear layers of a denoiser that hold whole numbers and a scale, and multiply as torch always does.

What a weight was is made again for the moment of a call, in the number type of what comes in, so rows depend on their
company no more than with whole weights. Knows nothing of families, LoRA or files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from safelight.engine.families.autoencoder import Place

BLOCK = 64  # weights that share a scale, of four bits each


class Bits(StrEnum):
    """How a denoiser's weights rest."""

    native = "native"
    int8 = "int8"
    nf4 = "nf4"


class Small(nn.Linear):
    """In place of a linear layer. ``weight`` is whatever rests in memory."""

    bytes: ClassVar[float]  # of a weight, its share of the scale included

    def __init__(self, linear: nn.Linear, device: torch.device) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.bias = linear.bias
        rests, scale = self.shrink(linear.weight.to(device).float())
        self.weight = nn.Parameter(rests, requires_grad=False)
        self.register_buffer("scale", scale)

    def shrink(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        raise NotImplementedError


class Int8(Small):
    """A scale for each row, to the nearest of 255 numbers."""

    bytes = 1.0

    def shrink(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        scale = weight.abs().amax(dim=1).clamp(min=1e-30) / 127  # (out,)
        return (weight / scale[:, None]).round().to(torch.int8), scale

    def forward(self, x: Tensor) -> Tensor:
        answer = functional.linear(x, self.weight.to(x.dtype)) * self.get_buffer("scale")
        return answer.to(x.dtype) if self.bias is None else answer.to(x.dtype) + self.bias


class Nf4(Small):
    """NormalFloat (Dettmers et al., 2023): the sixteen numbers that cut a normal distribution evenly, two to a byte."""

    bytes = 0.5 + 4 / BLOCK

    def shrink(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        blocks = weight.reshape(-1, BLOCK)
        scale = blocks.abs().amax(dim=1).clamp(min=1e-30)  # (blocks,)
        levels = normal_levels().to(weight)
        nearest = torch.bucketize(blocks / scale[:, None], (levels[1:] + levels[:-1]) / 2).to(torch.uint8)
        pairs = torch.stack(torch.meshgrid(levels, levels, indexing="ij"), dim=-1).reshape(256, 2)
        self.register_buffer("pairs", pairs)
        return (nearest[:, ::2] << 4 | nearest[:, 1::2]).reshape(self.out_features, -1), scale

    def forward(self, x: Tensor) -> Tensor:
        pairs, scale = self.get_buffer("pairs").to(x.dtype), self.get_buffer("scale").to(x.dtype)
        blocks = functional.embedding(self.weight.int(), pairs).view(-1, BLOCK) * scale[:, None]
        return functional.linear(x, blocks.view(self.out_features, self.in_features), self.bias)


KINDS: dict[Bits, type[Small]] = {Bits.int8: Int8, Bits.nf4: Nf4}


def normal_levels() -> Tensor:
    """From -1 to 1, with an exact zero: eight above it and seven below."""
    edge = 0.5 * ((1 - 1 / 32) + (1 - 1 / 30))
    above, below = (torch.special.ndtri(torch.linspace(0.5, edge, count, dtype=torch.float64)) for count in (9, 8))
    levels = torch.cat([-below[1:].flip(0), above])
    return levels / levels.abs().max()


def shrinks(name: str, shape: Sequence[int]) -> bool:
    """Whether a weight of a denoiser is one that may rest in fewer bits: of a linear layer within its repeated blocks."""
    repeated = any(step.isdigit() for step in name.split(".")[:-2])
    whole = len(shape) == 2 and shape[1] % 2 == 0 and shape[0] * shape[1] % BLOCK == 0
    return repeated and whole and name.endswith(".weight")


def resting(network: nn.Module) -> Iterator[Tensor]:
    """Whatever of a network's weights is in memory, scales too."""
    yield from network.parameters()
    for part in network.modules():
        if isinstance(part, Small):
            yield from part.buffers()


def bytes_of(weights: int, repeated: int, size: int, bits: Bits) -> int:
    """Of a denoiser with so many weights of ``size`` bytes each, so many of which may rest in fewer bits."""
    return size * (weights - repeated) + round((KINDS[bits].bytes if bits in KINDS else size) * repeated)


def settle_small(network: nn.Module, place: Place, bits: Bits) -> None:
    """Put a denoiser where it computes, a layer at a time, so that its whole weights are never there."""
    replace(place, device=torch.device("cpu")).settle(network)
    for path, linear in list(network.named_modules()):
        if type(linear) is nn.Linear and shrinks(f"{path}.weight", linear.weight.shape):
            network.set_submodule(path, KINDS[bits](linear, place.device))
    nn.Module.to(network, device=place.device)
