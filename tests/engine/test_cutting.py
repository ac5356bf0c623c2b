"""What is in front, by GrabCut and by networks of the three layouts, against alphas that are known; and rembg's switches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from safelight.engine.generation import Pixels
from safelight.engine.matting import Cut, cut_out
from safelight.engine.segmenters import Segmenter, Share, from_border
from safelight.errors import EngineFailed

from .networks import a_segmenter

SIDE = 240
RED, GREEN = (200, 40, 60), (40, 160, 70)


def alpha(soft: float = 0) -> Share:
    """A disc with a handle and a hole."""
    drawn = Image.new("L", (SIDE * 4, SIDE * 4))
    draw = ImageDraw.Draw(drawn)
    draw.ellipse((240, 240, 660, 660), 255)
    draw.rectangle((600, 400, 820, 500), 255)
    draw.ellipse((340, 340, 560, 560), 0)
    small = drawn.resize((SIDE, SIDE), Image.Resampling.BOX).filter(ImageFilter.GaussianBlur(soft))
    shares: Share = (np.asarray(small) / 255).astype(np.float32)
    return shares


def composite(known: Share, background: str = "plain") -> Pixels:
    """Red with some light and shade, over green: all one, from dark to light, or with grain."""
    ramp = np.linspace(-30, 30, SIDE)[:, None, None]
    front = np.array(RED) + ramp
    behind = np.array(GREEN) + {"plain": 0 * ramp, "gradient": ramp, "grain": grain()}[background]
    share = known[..., None]
    picture: Pixels = (front * share + behind * (1 - share)).round().clip(0, 255).astype(np.uint8)
    return picture


def grain() -> NDArray[np.float64]:
    return np.random.default_rng(1).normal(0, 12, (SIDE, SIDE, 1))


def overlap(found: Share, known: Share) -> float:
    """Intersection over union."""
    a, b = found > 0.5, known > 0.5
    return float((a & b).sum() / (a | b).sum())


@pytest.mark.parametrize("background", ["plain", "gradient", "grain"])
def test_grabcut_finds_what_is_unlike_the_border(background: str) -> None:
    assert overlap(from_border(composite(alpha(), background)), alpha()) > 0.95


def test_grabcut_gives_the_same_for_the_same_and_bears_a_picture_of_nothing() -> None:
    shown = composite(alpha(), "grain")
    assert np.array_equal(from_border(shown), from_border(shown))
    assert not from_border(np.full((400, 600, 3), 90, np.uint8)).any()
    assert from_border(np.zeros((16, 20_000, 3), np.uint8)).shape == (16, 20_000)  # a line, once it is made small


@pytest.mark.parametrize(
    ("name", "side", "outputs", "logits"),
    [
        ("u2net", 320, 7, False),
        ("isnet-general-use", 1024, 2, False),
        ("BiRefNet", 1024, 1, True),
        ("mine", 320, 7, False),
    ],
)
def test_networks_of_the_three_layouts(tmp_path: Path, name: str, side: int, outputs: int, logits: bool) -> None:
    network = Segmenter(a_segmenter(tmp_path / f"{name}.onnx", side, outputs, logits=logits))
    assert overlap(network(composite(alpha(), "grain")), alpha()) > 0.97


def test_what_is_no_network_is_told(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.onnx"
    wrong.write_bytes(b"not a network")
    with pytest.raises(EngineFailed, match=r"wrong\.onnx is no segmentation network"):
        Segmenter(wrong)


def test_matting_finds_soft_edges_and_the_fronts_own_colours() -> None:
    soft = alpha(soft=3)
    shown = composite(soft)
    hard, matted = (cut_out(shown, (soft > 0.5).astype(np.float32), Cut(matting=matting)) for matting in (False, True))
    errors = [np.abs(each[..., 3] / 255.0 - soft).mean() for each in (hard, matted)]
    assert errors[1] < errors[0] / 2
    edge = (soft > 0.3) & (soft < 0.8)
    greens = [each[..., 1][edge].mean() for each in (hard, matted)]
    assert greens[1] < greens[0] - 20  # the green behind no longer shines through


def test_the_mask_alone_the_other_way_round_and_tidied() -> None:
    known = alpha()
    spotted = known.copy()
    spotted[5, 5] = 1
    shown = composite(known)
    mask, inverse, tidy = (
        cut_out(shown, spotted, cut)
        for cut in (Cut(only_mask=True), Cut(only_mask=True, inverse=True), Cut(only_mask=True, tidy=True))
    )
    assert (mask.shape, mask[5, 5]) == (known.shape, 255)
    assert np.array_equal(mask, 255 - inverse)
    assert (tidy[5, 5], set(np.unique(tidy))) == (0, {0, 255})
    assert np.array_equal(cut_out(shown, known, Cut())[..., :3], shown)
