"""``removebg_mask``: a picture with its background transparent, by rembg's parameters, told in the words of the page."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tests.wire.site import PHOTO, Json, Site

PATHS = ["v5/removebg_mask", "v6/image_editing/removebg_mask", "v1/enterprise/image_editing/removebg_mask"]


def disc() -> str:
    drawn = Image.new("RGB", (96, 80), (40, 160, 70))
    ImageDraw.Draw(drawn).ellipse((30, 20, 66, 56), (200, 40, 60))
    file = io.BytesIO()
    drawn.save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def opened(site: Site, url: str) -> Image.Image:
    with Image.open(io.BytesIO(site.http.get(url).content)) as picture:
        picture.load()
        return picture


@pytest.mark.parametrize("path", PATHS)
def test_the_background_is_taken_away_and_the_answer_says_how(site: Site, key: str, path: str) -> None:
    before = site.holdings()
    reply = site.post(path, key, image=disc(), seed=12345, alpha_matting=False, post_process_mask=False)
    body: Json = reply.json()
    assert body["status"] == "success", body
    assert reply.headers["x-safelight-notes"].startswith("There is no segmentation model here")
    assert (body["meta"]["alpha_matting"], body["meta"]["only_mask"], body["meta"]["model_id"]) == (
        "0",
        False,
        "grabcut",
    )
    picture = opened(site, body["output"][0])
    assert (picture.mode, picture.size) == ("RGBA", (96, 80))
    assert [picture.getpixel(at)[3] for at in ((48, 38), (5, 5))] == [255, 0]  # type: ignore[index]
    assert site.post("v3/delete_image", key, request_id=body["id"]).json()["status"] == "success"
    assert site.http.get(body["output"][0]).status_code == 404
    after = site.holdings()
    assert (after["files"], after["requests"]) == (before["files"], before["requests"])


def test_the_mask_alone_and_the_other_way_round(site: Site, key: str) -> None:
    masks = [
        np.asarray(opened(site, site.post(PATHS[1], key, image=disc(), only_mask=True, **more).json()["output"][0]))
        for more in ({}, {"inverse_mask": "yes"}, {"alpha_matting": "yes", "post_process_mask": "yes"})
    ]
    assert (masks[0].shape, masks[0][38, 48], masks[0][5, 5]) == ((80, 96), 255, 0)
    assert np.array_equal(masks[1], 255 - masks[0])
    assert (masks[2][38, 48], masks[2][5, 5]) == (255, 0)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "image is required"),
        (
            {"image": PHOTO, "alpha_matting_foreground_threshold": 300},
            "alpha_matting_foreground_threshold must be between",
        ),
        ({"image": PHOTO, "alpha_matting_erode_size": -1}, "alpha_matting_erode_size must be between 0 and 100"),
        ({"image": PHOTO, "only_mask": "perhaps"}, "only_mask must be yes or no"),
    ],
)
def test_refusals_name_the_field(site: Site, key: str, fields: Json, said: str) -> None:
    reply = site.post(PATHS[1], key, **fields)
    assert (reply.status_code, reply.json()["message"][: len(said)]) == (400, said)
