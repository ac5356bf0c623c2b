"""Pixels to tensors and back, and files without metadata."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from safelight.engine import images
from safelight.engine.plan import drawn_size

from .oracle import half_mask, picture


def test_there_and_back_again() -> None:
    tensor = images.to_tensor(picture(), 64, 64)
    assert tensor.shape == (1, 3, 64, 64)
    assert np.array_equal(images.to_pixels(tensor[0]), picture())


def test_a_mask_has_nothing_between() -> None:
    mask = images.mask_to_tensor(half_mask(50, 40), 64, 64)
    assert mask.shape == (1, 1, 64, 64)
    assert set(mask.flatten().tolist()) == {0.0, 1.0}


def test_out_of_range_is_clamped() -> None:
    assert images.to_pixels(torch.full((3, 1, 1), 9.0)).max() == 255


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_files_open_and_tell_nothing(kind: images.Format) -> None:
    opened = Image.open(io.BytesIO(images.encode(picture(), kind)))
    assert (opened.format or "").lower() == kind
    assert opened.size == (64, 64)
    assert not opened.getexif()
    assert not {"exif", "xmp", "comment"} & set(opened.info)


def test_equal_pictures_and_no_others_have_one_digest() -> None:
    assert images.digest(picture()) == images.digest(picture().copy())
    assert images.digest(picture()) != images.digest(picture().reshape(32, 128, 3))
    assert images.digest(picture(seed=1)) != images.digest(picture(seed=2))


@pytest.mark.parametrize(
    ("asked", "drawn"),
    [((512, 512), (128, 128)), ((512, 768), (104, 160)), ((64, 64), (128, 128)), ((1024, 8), (1448, 8))],
)
def test_a_native_size_keeps_the_aspect(asked: tuple[int, int], drawn: tuple[int, int]) -> None:
    assert drawn_size(*asked, 128) == drawn
    assert drawn_size(*asked, None) == asked
