"""The enlarger's recipe at its smallest: pairs that fit, a few steps that resume, weights that the engine reads; and its scores."""

from __future__ import annotations

from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from PIL import Image

from safelight.engine.enlarger import WEIGHTS
from training import enlarger, enlarger_scores

SMALL_ENOUGH = 4_000_000


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    Image.effect_noise((300, 280), 80).convert("RGB").save(folder / "noise.png")
    Image.new("RGB", (300, 300)).save(folder / "rocket.png")
    return folder


def test_pairs_fit_and_leave_out_what_is_measured(photographs: Path) -> None:
    pairs = list(enlarger.photographed_pairs(photographs, 2, Random(0)))
    assert len(pairs) == 4  # two of the noise, each for two factors
    for factor, (small, large) in pairs:
        assert [side * factor for side in small.shape[1:]] == list(large.shape[1:])
        some, wanted = enlarger.batch([(small, large)], factor, Random(1))
        assert [side * factor for side in some.shape[2:]] == list(wanted.shape[2:])


def test_training_goes_on_where_it_stopped(photographs: Path, tmp_path: Path) -> None:
    pairs: dict[int, list[enlarger.Pair]] = {2: [], 4: []}
    for factor, pair in enlarger.photographed_pairs(photographs, 1, Random(0)):
        pairs[factor].append(pair)
    net = enlarger.train(pairs, tmp_path, 0.03)
    steps = torch.load(tmp_path / "enlarger.pt", weights_only=True)["step"]
    again = enlarger.train(pairs, tmp_path, 0.03)
    assert torch.load(tmp_path / "enlarger.pt", weights_only=True)["step"] == steps > 0
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), again.parameters(), strict=True))


def test_what_ships_is_small() -> None:
    assert WEIGHTS.stat().st_size < SMALL_ENOUGH


def test_the_measures_say_nothing_is_lost_where_nothing_is() -> None:
    real = np.random.default_rng(0).integers(0, 200, (32, 40, 3), np.uint8)
    assert enlarger_scores.ssim(real, real) == pytest.approx(1)
    assert enlarger_scores.ssim(real, real[::-1].copy()) < 0.2
    assert enlarger_scores.psnr(real, real + 10) == pytest.approx(20 * np.log10(255 / 10))
