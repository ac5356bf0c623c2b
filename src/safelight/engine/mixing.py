"""Several prompts and pictures as one: the weighted mean of what the text encoder says, and of the latents' posteriors.

Shares add up to one. Each mixture is summed alone and in its own order, so that its bits depend on nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from safelight.engine.families.autoencoder import Moments
from safelight.engine.families.family import Conditioning
from safelight.errors import Invalid


def mixed_texts(texts: Sequence[Conditioning], shares: Sequence[float]) -> Conditioning:
    """Raises Invalid where prompts are read to different lengths, so that their tokens do not correspond."""
    if len({text.embedding.shape for text in texts}) > 1:
        raise Invalid(
            "prompt", "must be one for all pictures: this checkpoint reads each prompt to a length of its own"
        )
    pooled = [text.pooled for text in texts if text.pooled is not None]
    return Conditioning(_mean([text.embedding for text in texts], shares), _mean(pooled, shares) if pooled else None)


def mixed_pictures(pictures: Sequence[Moments], shares: Sequence[float]) -> Moments:
    """The posterior of the weighted mean of independent samples."""
    mean = _mean([picture.mean for picture in pictures], shares)
    variance = _mean([picture.std**2 for picture in pictures], [share**2 for share in shares])
    return Moments(mean, variance.sqrt())


def _mean(tensors: Sequence[Tensor], shares: Sequence[float]) -> Tensor:
    total = torch.zeros_like(tensors[0])
    for tensor, share in zip(tensors, shares, strict=True):
        total += share * tensor
    return total
