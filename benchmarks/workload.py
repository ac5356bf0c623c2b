"""The requests of a benchmark: a mix that no two of which can share a request-level batch, arriving when they like.

Open loop: arrival times are drawn beforehand (Poisson), so a slow server cannot slow its own load down. Fixed by a seed.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from safelight.engine.generation import Generation, Pixels

Choice = TypeVar("Choice")

SAMPLERS = {"EulerDiscrete": 0.4, "EulerAncestralDiscrete": 0.2, "DPMSolverMultistep": 0.2, "DDIM": 0.2}
FLOW_SAMPLERS = {
    "EulerDiscrete": 1.0
}  # all that models of a flow have, but for fresh noise, which diffusers does not seed
STEPS = {20: 0.5, 30: 0.35, 50: 0.15}
STRENGTHS = {0.3: 0.25, 0.5: 0.25, 0.75: 0.25, 0.9: 0.25}
GUIDANCE = {7.5: 0.8, 1.0: 0.1, 12.0: 0.1}
SHAPES = {(1.0, 1.0): 0.7, (1.0, 1.5): 0.15, (1.5, 1.0): 0.15}  # width and height, of the side
SAMPLES = {1: 0.85, 4: 0.15}
KINDS = {"img2img": 0.7, "text2img": 0.2, "inpaint": 0.1}
REPEATED = 0.2  # share of init images that were sent before


@dataclass(frozen=True)
class Arrival:
    """One request and the second at which it comes, whether or not anybody is ready for it."""

    at: float
    generation: Generation


def requests(
    count: int, side: int, seed: int = 0, steps_share: float = 1.0, *, flows: bool = False
) -> list[Generation]:
    """``count`` requests of the mix, around pictures of ``side``; ``steps_share`` shortens all of them alike.

    ``flows``: for a model that predicts a flow, with its one sampler and sizes of whole multiples of 16.
    """
    dice = np.random.default_rng(seed)
    pictures: list[Pixels] = []
    return [_request(dice, side, steps_share, pictures, i, flows) for i in range(count)]


def arrivals(generations: Sequence[Generation], rate: float, seed: int = 1) -> list[Arrival]:
    """The same requests at ``rate`` requests a second."""
    gaps = np.random.default_rng(seed).exponential(1 / rate, len(generations))
    return [Arrival(at, generation) for at, generation in zip(itertools.accumulate(gaps), generations, strict=True)]


def _request(
    dice: np.random.Generator, side: int, share: float, pictures: list[Pixels], i: int, flows: bool
) -> Generation:
    multiple = 16 if flows else 8
    width, height = (round(side * part / multiple) * multiple for part in _draw(dice, SHAPES))
    kind = _draw(dice, KINDS)
    base = Generation(
        prompt=f"a photo of thing number {min(int(dice.zipf(1.3)), 1000)}",
        negative_prompt="blurry" if dice.random() < 0.5 else "",
        width=width,
        height=height,
        samples=_draw(dice, SAMPLES),
        steps=max(4, round(_draw(dice, STEPS) * share)),  # of which the lowest strength leaves one
        guidance_scale=_draw(dice, GUIDANCE),
        strength=_draw(dice, STRENGTHS),
        seed=i,
        sampler=_draw(dice, FLOW_SAMPLERS if flows else SAMPLERS),
        owner=f"account {int(dice.integers(4))}",
    )
    if kind == "text2img":
        return base
    again = bool(pictures) and dice.random() < REPEATED
    picture = pictures[int(dice.integers(len(pictures)))] if again else _picture(dice, side)
    pictures.append(picture)
    return replace(base, init_image=picture, mask_image=_mask(side) if kind == "inpaint" else None)


def _draw(dice: np.random.Generator, weights: dict[Choice, float]) -> Choice:
    return list(weights)[int(dice.choice(len(weights), p=list(weights.values())))]


def _picture(dice: np.random.Generator, side: int) -> Pixels:
    """Soft colour fields: noise is what no photograph looks like, and the dearest thing to encode."""
    coarse = dice.integers(0, 256, (5, 5, 3)).astype(np.float64)
    rows, columns = (np.linspace(0, 3.999, side) for _ in range(2))
    top, left = rows.astype(int), columns.astype(int)
    down, right = (rows - top)[:, None, None], (columns - left)[None, :, None]
    upper = coarse[top][:, left] * (1 - right) + coarse[top][:, left + 1] * right
    lower = coarse[top + 1][:, left] * (1 - right) + coarse[top + 1][:, left + 1] * right
    picture: Pixels = (upper * (1 - down) + lower * down).astype(np.uint8)
    return picture


def _mask(side: int) -> Pixels:
    mask = np.zeros((side, side), np.uint8)
    mask[side // 4 : 3 * side // 4, side // 4 : 3 * side // 4] = 255
    return mask
