"""``mask_creator`` and removing what a word names: by a model of the operator's, refused by name without one."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.wire.site import PHOTO, Site, heard

from .examples import compare, examples, nearest
from .test_background import disc

MASKS = ["v6/image_editing/mask_creator", "v1/enterprise/image_editing/mask_creator"]
REMOVALS = ["v6/interior/object_removal", "v1/enterprise/interior/object_removal", "v6/image_editing/object_removal"]


def opened(site: Site, url: str) -> Any:
    with Image.open(io.BytesIO(site.http.get(url).content)) as picture:
        return np.asarray(picture)


@pytest.mark.parametrize("path", MASKS)
def test_a_mask_is_white_where_the_word_is_found(seeing: Site, path: str) -> None:
    key, before = seeing.key(), seeing.holdings()
    body = seeing.post(path, key, init_image=disc(), specific_object="the ball").json()
    assert body["status"] == "success", body
    mask = opened(seeing, body["output"][0])
    assert (mask.shape, mask[40, 10], mask[40, 90]) == ((80, 96), 255, 0)
    assert (body["meta"]["model_id"], body["meta"]["specific_object"]) == ("clipseg", "the ball")
    seeing.post("v3/delete_image", key, request_id=body["id"])
    after = seeing.holdings()
    assert (after["files"], after["requests"]) == (before["files"], before["requests"])


def test_its_answer_is_the_one_that_the_pages_print(seeing: Site) -> None:
    printed = [one for one in examples() if one.path.endswith(("mask_creator", "interior/object_removal"))]
    for one in printed:
        path = one.path.removeprefix("/api/")
        fields = {"init_image": disc(), "specific_object": "the ball", "object_name": "remove the ball from the image"}
        body = seeing.post(path, seeing.key(), **fields).json()
        near = nearest(one, body)
        differences = compare(near, body) if near else ()
        assert [each for each in differences if each[1] != "extra"] == []


def test_without_a_word_it_is_of_what_stands_in_front(site: Site, key: str) -> None:
    reply = site.post(MASKS[0], key, init_image=disc())
    mask = opened(site, reply.json()["output"][0])
    assert (mask[38, 48], mask[5, 5]) == (255, 0)
    assert reply.headers["x-safelight-notes"].startswith("There is no segmentation model here")


@pytest.mark.parametrize("path", REMOVALS)
def test_what_a_word_names_is_painted_away(seeing: Site, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    told = heard(seeing, monkeypatch)
    key = seeing.key()
    body = seeing.post(path, key, init_image=disc(), object_name="remove ball from the image").json()
    assert body["status"] == "success", body
    assert told[0].mask_image is not None
    assert (told[0].mask_image[40, 10], told[0].mask_image[40, 90], told[0].width) == (255, 0, 96)
    assert body["meta"]["object_name"] == "remove ball from the image"


def test_what_is_not_there_is_told(seeing: Site) -> None:
    key = seeing.key()
    body = seeing.post(REMOVALS[0], key, init_image=disc(), object_name="a sofa").json()
    assert body["status"] in ("failed", "error")
    assert "object_name was not found in the picture" in str(body)


@pytest.mark.parametrize(
    ("path", "field"), [(MASKS[0], "specific_object"), *((each, "object_name") for each in REMOVALS)]
)
def test_without_such_a_model_it_is_refused_by_name(site: Site, key: str, path: str, field: str) -> None:
    reply = site.post(path, key, init_image=PHOTO, **{field: "the ball"})
    assert reply.status_code == 501
    assert reply.json()["message"].startswith("This server finds no objects by their names")


def test_removing_needs_a_word(seeing: Site) -> None:
    reply = seeing.post(REMOVALS[0], seeing.key(), init_image=PHOTO)
    assert (reply.status_code, reply.json()["message"]) == (400, "object_name is required")
