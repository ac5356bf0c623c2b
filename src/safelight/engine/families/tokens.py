"""Latents as the tokens of a transformer: each token is a square of two by two latents, channels first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from safelight.engine.families.autoencoder import Place
from safelight.engine.flow import Schedule

REFERENCE = "reference "  # the name of each picture that an instruction speaks of, before its number


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


def count(height: int, width: int) -> int:
    """The tokens of latents of this size."""
    return (height // 2) * (width // 2)


def schedule(height: int, width: int) -> Schedule:
    """As the pipelines of most transformers ask for timesteps."""
    return Schedule(even=True, tokens=count(height, width))


def told(inputs: Mapping[str, Tensor], place: Place) -> tuple[dict[str, Any], list[Tensor]]:
    """A call in the transformer's own words, pictures to be edited beside the one that is drawn; and these pictures."""
    words: dict[str, Any] = dict(inputs)
    pictures = [place.enter(words.pop(name)) for name in ("hidden_states", *_references(inputs))]
    words["hidden_states"] = torch.cat([pack(picture) for picture in pictures], dim=1)
    words["timestep"] = words["timestep"] / 1000
    return words, pictures


def _references(inputs: Mapping[str, Tensor]) -> list[str]:
    return [name for name in inputs if name.startswith(REFERENCE)]


def drawn(tokens: Tensor, picture: Tensor) -> Tensor:
    """Of the answer, what belongs to the picture that is drawn."""
    height, width = picture.shape[-2:]
    return unpack(tokens[:, : height * width // 4], height, width)
