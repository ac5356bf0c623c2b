"""Latents as the tokens of a transformer: each token is a square of two by two latents, channels first."""

from __future__ import annotations

from torch import Tensor


def pack(latents: Tensor) -> Tensor:
    """(R, C, h, w) to (R, h / 2 * w / 2, 4 C)."""
    rows, channels, height, width = latents.shape
    squares = latents.reshape(rows, channels, height // 2, 2, width // 2, 2).permute(0, 2, 4, 1, 3, 5)
    return squares.reshape(rows, (height // 2) * (width // 2), channels * 4)


def unpack(tokens: Tensor, height: int, width: int) -> Tensor:
    """The way back."""
    rows, _, channels = tokens.shape
    squares = tokens.reshape(rows, height // 2, width // 2, channels // 4, 2, 2).permute(0, 3, 1, 4, 2, 5)
    return squares.reshape(rows, channels // 4, height, width)
