"""The update after a call of the model: for all its pictures at once, whatever their samplers, one weighted sum.

Multiplications and additions are separate element-wise operations in a fixed order, so every bit of a picture follows
from its own numbers, whoever else is in the sum and on whichever device. Knows nothing of samplers but their tables.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from safelight.engine.tables import Step


def guide(outputs: Tensor, first: Tensor, last: Tensor, scale: Tensor) -> Tensor:
    """Classifier-free guidance. Rows ``first`` follow the negative prompt; unguided, ``last`` is the same row."""
    unconditional = outputs.index_select(0, first)  # (P, C, h, w)
    difference = outputs.index_select(0, last) - unconditional
    return unconditional + scale[:, None, None, None] * difference


def hold(guided: Tensor, outputs: Tensor, first: Tensor, shown: Tensor, scale: Tensor) -> Tensor:
    """Guidance towards a picture too (Brooks et al. 2023): rows ``first`` are not shown it, rows ``shown`` are."""
    difference = outputs.index_select(0, shown) - outputs.index_select(0, first)
    return guided + (scale - 1)[:, None, None, None] * difference


def temper(guided: Tensor, prompted: Tensor, share: float) -> Tensor:
    """One guided answer brought back towards the spread of the prompt's own, by Lin et al. 2024: it burns less.

    Each alone, for the order in which a spread is summed follows from how many there are.
    """
    return guided * (1 - share + share * prompted.std() / guided.std()) if share else guided


def advance(steps: Sequence[Step], stacks: Sequence[Tensor], outputs: Tensor, noises: Sequence[Tensor]) -> list[Tensor]:
    """The stacks of all pictures (latents first, then what their samplers remember) after one step each.

    ``outputs`` are the model's, guided, (P, C, h, w); ``noises`` are (draws, C, h, w) for each picture.
    """
    depth = max(step.stack for step in steps)
    draws = max(step.draws for step in steps)
    height = max(step.weights.shape[0] for step in steps)
    terms = outputs.new_zeros(len(steps), depth + 1 + draws, *outputs.shape[1:])
    fresh = torch.zeros(len(steps), draws, *outputs.shape[1:])
    weights = torch.zeros(len(steps), height, depth + 1 + draws)
    for i, (step, stack, noise) in enumerate(zip(steps, stacks, noises, strict=True)):
        terms[i, : step.stack] = stack
        fresh[i, : step.draws] = noise
        weights[i, : len(step.weights), : step.stack] = step.weights[:, : step.stack]
        weights[i, : len(step.weights), depth : depth + 1 + step.draws] = step.weights[:, step.stack :]
    terms[:, depth] = outputs
    terms[:, depth + 1 :] = send(fresh, outputs.device)
    sums = weighted_sum(send(weights, outputs.device), terms)
    return [row[: len(step.weights)] for row, step in zip(sums, steps, strict=True)]


def weighted_sum(weights: Tensor, terms: Tensor) -> Tensor:
    """Weights (P, A, B) on terms (P, B, C, h, w) give (P, A, C, h, w).

    Starting from +0.0 no partial sum is ever -0.0, so a term of weight zero changes no bit, and padding is free.
    """
    total = terms.new_zeros(*weights.shape[:2], *terms.shape[2:])
    for weight, term in zip(weights.unbind(2), terms.unbind(1), strict=True):  # (P, A), (P, C, h, w)
        total += weight[:, :, None, None, None] * term[:, None]
    return total


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """To where the model is; to CUDA through pinned memory, so that nobody waits for the copy."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
