"""The vendor's checks of pictures and prompts, and the list of what one has made."""

from __future__ import annotations

import base64

import pytest

from tests.engines import encode
from tests.house import colour
from tests.wire.site import PHOTO, Site


def coloured(red: int) -> str:
    """The site's judge goes by how red a picture is."""
    pixels = colour(0, 64, 64)
    pixels[..., 0], pixels[..., 1:] = red, 0
    return base64.b64encode(encode(pixels)).decode()


def test_a_picture_is_judged_against_the_threshold_and_nothing_of_it_stays(site: Site, key: str) -> None:
    before = site.holdings()
    for red, threshold, unsafe in ((255, 0.5, True), (0, 0.5, False), (255, 1.0, True), (128, 0.9, False)):
        reply = site.post("v3/nsfw_image_check", key, init_image=coloured(red), threshold=threshold)
        assert (reply.status_code, reply.json()) == (200, {"images": "", "has_nsfw_concept": [unsafe]})
        assert (
            site.http.get(f"/v1/erasures/{reply.headers['x-safelight-receipt']}", headers={"key": key}).json()["assets"]
            == 1
        )
    after = site.holdings()
    assert (after["files"], after["requests"]) == (before["files"], before["requests"])


def test_an_address_comes_back_as_it_was_given(site: Site, key: str) -> None:
    mine = site.post("v3/base64_crop", key, image=PHOTO).json()["link"]
    assert site.post("v1/enterprise/nsfw_image_check", key, init_image=mine).json()["images"] == mine


@pytest.mark.parametrize(
    ("prompt", "nsfw", "minors", "filtered"),
    [
        ("a cat on a bench", False, False, "a cat on a bench"),
        ("portrait ((pale woman, Nude)), 8K", True, False, "portrait ((pale woman, )), 8K"),
        ("a naked child", True, True, "a child"),
        ("a child with a kite", False, False, "a child with a kite"),
    ],
)
def test_a_prompt_is_judged_by_its_words(
    site: Site, key: str, prompt: str, nsfw: bool, minors: bool, filtered: str
) -> None:
    assert site.post("check_nsfw_cp", key, prompt=prompt).json() == {
        "status": "success", "is_cp": minors, "is_nsfw": nsfw, "original_prompt": prompt, "filtered_prompt": filtered,
    }  # fmt: skip


def test_what_one_has_made_is_listed_newest_first_in_pages(site: Site, key: str) -> None:
    made = [site.made(key, samples=2 if number == 2 else 1) for number in range(3)]
    site.post("v3/delete_image", key, request_id=made[0]["id"])
    body = site.post("v6/assets_generated", key, type="image", per_page=1).json()
    assert body["data"] == [{"id": made[2]["id"], "output": made[2]["output"]}]
    assert body["pagination"] == {"current_page": 1, "per_page": 1, "total": 2, "last_page": 2, "from": 1, "to": 1}
    later = site.post("assets_generated", key, page=2, per_page=1).json()
    assert [entry["id"] for entry in later["data"]] == [made[1]["id"]]
    assert site.post("assets_generated", key, type="video").json()["data"] == []
    assert site.post("assets_generated", site.key()).json()["data"] == []


def test_a_picture_of_ones_own_server(site: Site, key: str) -> None:
    body = site.post("v1/enterprise/upload_image", key, base64_image=PHOTO.partition(",")[2]).json()
    assert body["message"] == "image uploaded"
    assert site.http.get(body["image_url"]).headers["content-type"] == "image/png"
