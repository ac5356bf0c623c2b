"""Any size that is asked, the same bytes in any company, and edges that a filter leaves soft."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from safelight.engine import enlarger, images
from safelight.engine.generation import Pixels

from .oracle import picture


def disc(side: int) -> Pixels:
    """A dark disc on light ground, smooth at its edge by being drawn eight times as large."""
    at = np.linspace(-1, 1, side * 8)
    inside = (at[:, None] ** 2 + at**2 < 0.5).reshape(side, 8, side, 8).mean((1, 3))
    shades: Pixels = np.repeat((230 - 200 * inside)[..., None], 3, axis=2).round().astype(np.uint8)
    return shades


@pytest.mark.parametrize("asked", [(200, 120), (256, 256), (128, 128), (64, 64), (70, 66), (330, 900), (16, 1600)])
def test_any_size_that_is_asked(asked: tuple[int, int]) -> None:
    assert enlarger.enlarge(picture(), *asked).shape == (asked[1], asked[0], 3)


def test_the_size_that_it_has_is_left_alone() -> None:
    assert np.array_equal(enlarger.enlarge(picture(), 64, 64), picture())


def test_the_same_bytes_in_any_company() -> None:
    alone = enlarger.times(picture(), 4)
    with ThreadPoolExecutor(4) as pool:
        among = list(pool.map(lambda seed: enlarger.times(picture(seed=seed), 4), [1, 0, 2, 0]))
    assert np.array_equal(among[1], alone)
    assert np.array_equal(among[3], alone)
    assert not np.array_equal(among[0], alone)


@pytest.mark.parametrize("factor", [2, 4])
def test_an_edge_comes_out_nearer_to_the_truth_than_by_a_filter(factor: int) -> None:
    small, truth = disc(64), disc(64 * factor).astype(np.float64)
    by_network, by_filter = enlarger.times(small, factor), images.resize(small, 64 * factor, 64 * factor)
    errors = [np.mean((made - truth) ** 2) for made in (by_network, by_filter)]
    assert errors[0] < errors[1] / 2
