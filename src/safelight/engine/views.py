"""A picture larger than its checkpoint was trained to draw, seen through views that overlap: MultiDiffusion (Bar-Tal et al. 2023).

What the model answers for the whole is the mean of what it answers for its views, and a sampler goes on from there as
ever. Samplers are linear, so that is also the mean of the views' next latents, which is how the paper has it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

Corner = tuple[int, int]  # the first row and column of a view, in latents
APART = 8  # views begin an eighth of their side apart


def corners(height: int, width: int, side: int) -> tuple[Corner, ...]:
    """Of views that are no larger than ``side``, row by row; the last of each row and column lies at the edge."""
    return tuple((top, left) for top in _starts(height, side) for left in _starts(width, side))


def joined(answers: Sequence[Tensor], views: Sequence[Corner], height: int, width: int) -> Tensor:
    """(C, h, w) each, in the order of their views, as one (C, height, width)."""
    total = answers[0].new_zeros(answers[0].shape[0], height, width)
    seen = torch.zeros_like(total[:1])
    for answer, (top, left) in zip(answers, views, strict=True):
        bottom, right = top + answer.shape[1], left + answer.shape[2]
        total[:, top:bottom, left:right] += answer
        seen[:, top:bottom, left:right] += 1
    return total / seen


def _starts(length: int, side: int) -> list[int]:
    last = length - side
    return [*range(0, last, max(1, side // APART)), last] if last > 0 else [0]
