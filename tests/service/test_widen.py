"""A picture on a larger canvas: its pixels stay, the mask covers all that is new and the overlap, and nothing else."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from safelight.records import Bitmap
from safelight.service.widen import widen
from tests.house import encode

pytestmark = pytest.mark.anyio


def a_picture(width: int, height: int) -> Bitmap:
    pixels = np.random.default_rng(5).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Bitmap(encode(pixels), width, height, "")


def pixels(bitmap: Bitmap) -> np.ndarray:
    with Image.open(io.BytesIO(bitmap.png)) as picture:
        assert picture.size == (bitmap.width, bitmap.height)
        return np.asarray(picture)


@pytest.mark.parametrize(
    ("width", "height", "overlap", "box"),
    [
        (128, 96, 10, (32, 16, 96, 80)),
        (128, 64, 10, (32, 0, 96, 64)),
        (64, 64, 10, (0, 0, 64, 64)),
        (72, 72, 0, (4, 4, 68, 68)),
    ],
)
async def test_the_picture_stays_and_the_mask_is_around_it(
    width: int, height: int, overlap: int, box: tuple[int, int, int, int]
) -> None:
    picture = a_picture(64, 64)
    canvas, mask = (pixels(each) for each in await widen(picture, width, height, overlap))
    left, top, right, bottom = box
    assert np.array_equal(canvas[top:bottom, left:right], pixels(picture))
    kept = np.zeros((height, width), bool)
    inset = [overlap * (left > 0), overlap * (top > 0), overlap * (right < width), overlap * (bottom < height)]
    kept[top + inset[1] : bottom - inset[3], left + inset[0] : right - inset[2]] = True
    assert np.array_equal(mask == 0, kept)
    assert set(np.unique(mask)) <= {0, 255}


async def test_what_lies_outside_begins_as_the_edge_drawn_out() -> None:
    whole = Image.new("RGB", (64, 64), "teal")
    file = io.BytesIO()
    whole.save(file, "PNG")
    canvas = pixels((await widen(Bitmap(file.getvalue(), 64, 64, ""), 200, 120, 8))[0])
    assert np.array_equal(np.unique(canvas.reshape(-1, 3), axis=0), [[0, 128, 128]])


async def test_a_picture_larger_than_the_canvas_is_shrunk_into_it() -> None:
    canvas, mask = await widen(a_picture(400, 200), 128, 128, 4)
    assert (canvas.width, canvas.height) == (128, 128)
    assert [int(side) for side in np.ptp(np.argwhere(pixels(mask) == 0), axis=0) + 1] == [64 - 8, 128]
