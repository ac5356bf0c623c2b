"""A wide photo with a strip of its own colour along each edge, through every endpoint that makes pictures from pictures."""

from __future__ import annotations

import base64

import numpy as np
import pytest

from safelight.engine.generation import Pixels
from safelight.records import Bitmap
from safelight.service.makers.framing import framed
from safelight.service.sizes import size_like
from safelight.wire.modelslab.images import IMG2IMG_OPERATION, INPAINT_OPERATION
from safelight.wire.modelslab.routes import TABLE
from tests.engines import decode, encode

from .site import Site

MAKERS = sorted(
    row.path.replace("{server}", "realtime") for row in TABLE if row.operation in (IMG2IMG_OPERATION, INPAINT_OPERATION)
)
TOP, BOTTOM, LEFT, RIGHT, MIDDLE = (0, 0, 250), (250, 250, 0), (250, 0, 0), (0, 250, 0), (128, 128, 128)
STRIP = 48


def striped(width: int = 768, height: int = 384) -> Pixels:
    pixels = np.full((height, width, 3), MIDDLE, np.uint8)
    pixels[:STRIP], pixels[-STRIP:] = TOP, BOTTOM
    pixels[STRIP:-STRIP, :STRIP], pixels[STRIP:-STRIP, -STRIP:] = LEFT, RIGHT
    return pixels


def uri(pixels: Pixels) -> str:
    return "data:image/png;base64," + base64.b64encode(encode(pixels)).decode()


def made_of(site: Site, key: str, path: str, **fields: object) -> Pixels:
    """With so little strength that the init image shows through; where there is a mask, its left half is painted."""
    mask = np.zeros((384, 768), np.uint8)
    mask[:, :384] = 255
    given = {
        "prompt": "a cat",
        "init_image": uri(striped()),
        "mask_image": uri(mask),
        "num_inference_steps": 50,
        "strength": 0.02,
    }
    body = site.post(path, key, **given | fields).json()  # fmt: skip
    assert body["status"] == "success", body
    return decode(site.http.get(body["output"][0]).content)


def near(pixels: Pixels, colour: tuple[int, int, int]) -> bool:
    return bool(np.all(np.abs(pixels.astype(int) - colour) < 12))


def edges(pixels: Pixels, depth: int) -> list[bool]:
    inner = pixels[STRIP : -STRIP or None]
    return [
        near(pixels[: depth - 4, STRIP:-STRIP], TOP),
        near(pixels[-depth + 4 :, STRIP:-STRIP], BOTTOM),
        near(inner[8:-8, : depth - 4], LEFT),
        near(inner[8:-8, -depth + 4 :], RIGHT),
    ]


@pytest.mark.parametrize("path", MAKERS)
def test_without_a_size_the_picture_is_as_wide_and_high_as_the_photo(site: Site, key: str, path: str) -> None:
    pixels = made_of(site, key, path)
    assert pixels.shape == (384, 768, 3)
    assert edges(pixels, STRIP) == [True] * 4


@pytest.mark.parametrize("path", MAKERS)
def test_with_a_size_the_photo_is_cut_to_cover_it(site: Site, key: str, path: str) -> None:
    """Of the wide photo the middle square is left: its upper and lower strips as high as they were, none at the sides."""
    pixels = made_of(site, key, path, width=384, height="384")
    assert pixels.shape == (384, 384, 3)
    assert edges(pixels, STRIP) == [True, True, False, False]
    assert near(pixels[STRIP + 8 : -STRIP - 8], MIDDLE)


def test_one_of_both_is_a_size(site: Site, key: str) -> None:
    assert made_of(site, key, "v3/img2img", width=384).shape == (512, 384, 3)


def test_where_nothing_is_painted_the_strips_are_the_photos_own(site: Site, key: str) -> None:
    assert np.array_equal(made_of(site, key, "v3/img2img", strength=0), striped())


@pytest.mark.parametrize(
    ("size", "most", "expected"),
    [
        ((768, 384), 1024, (768, 384)),
        ((4000, 3000), 1024, (1024, 768)),
        ((500, 333), 1024, (496, 336)),
        ((16, 48), 1024, (64, 192)),
        ((1000, 1000), 1001, (1000, 1000)),
        ((16_000, 16), 1024, (1024, 64)),
        ((48, 32), 64, (64, 64)),
    ],
)
def test_the_photos_size_within_the_limits(size: tuple[int, int], most: int, expected: tuple[int, int]) -> None:
    assert size_like(Bitmap(b"", *size, ""), most) == expected


@pytest.mark.parametrize(
    ("fit", "size", "init", "mask"),
    [
        ("crop", (64, 64), (384, 384), (100, 50)),
        ("crop", (256, 64), (192, 768), (50, 100)),
        ("pad", (64, 64), (768, 768), (200, 100)),
        ("pad", (256, 64), (384, 1536), (100, 200)),
        ("stretch", (64, 64), (384, 768), (100, 100)),
        ("crop", (512, 256), (384, 768), (100, 100)),
        ("pad", (512, 256), (384, 768), (100, 100)),
    ],
)
def test_a_mask_follows_its_photo_whatever_its_own_size(
    fit: str, size: tuple[int, int], init: tuple[int, int], mask: tuple[int, int]
) -> None:
    marks = np.zeros((100, 100), np.uint8)
    marks[:, 50:] = 255
    photo, marked = framed(striped(), marks, *size, fit)
    assert marked is not None
    assert (photo.shape[:2], marked.shape) == (init, mask)
    assert marked.mean() == 127.5
    assert near(photo[photo.shape[0] // 2, photo.shape[1] // 2], MIDDLE)
