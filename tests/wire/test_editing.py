"""The editing pages that a checkpoint alone can answer: each makes its picture, says what it did, and is erased like any other."""

from __future__ import annotations

import base64
import io

import pytest
from PIL import Image

from safelight.records import Wants
from tests.wire.site import PHOTO, Json, Site, heard

INTERIORS = [
    "v3/interior", "v5/interior", "v6/interior/make", "v6/interior/room_decorator", "v6/interior/floor_planning",
    "v6/interior/scenario_changer", "v6/interior/sketch_rendering", "v6/interior/exterior_restorer",
    "v1/enterprise/interior/make",
]  # fmt: skip


def wide() -> str:
    return uri(Image.new("RGB", (96, 64), "teal"))


def uri(picture: Image.Image) -> str:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def made(site: Site, key: str, path: str, **fields: object) -> tuple[Json, Json]:
    reply = site.post(path, key, **fields)
    body: Json = reply.json()
    assert (reply.status_code, body["status"]) == (200, "success"), body
    return body, dict(reply.headers)


@pytest.mark.parametrize("path", INTERIORS)
def test_an_interior_is_the_picture_made_anew_in_its_proportions(site: Site, key: str, path: str) -> None:
    body, headers = made(site, key, path, init_image=wide(), strength=5, num_inference_steps=2)
    assert (body["meta"]["W"], body["meta"]["H"], body["meta"]["strength"]) == (96, 64, 1.0)
    assert headers["x-safelight-notes"].startswith("There is no interior model here")
    fetched = site.post(f"{'v3' if path == 'v3/interior' else 'v6/interior'}/fetch/{body['id']}", key).json()
    assert fetched["output"] == body["output"]


def test_the_prompt_of_an_interior_is_the_callers_and_its_scenario(site: Site, key: str) -> None:
    asked = {"init_image": PHOTO, "prompt": "a red room", "scenario": "in winter", "enhance_prompt": "no"}
    body, _ = made(site, key, "v6/interior/scenario_changer", **asked, width=64, height=64)
    assert body["meta"]["prompt"] == "a red room, in winter"


@pytest.mark.parametrize("path", ["v6/image_editing/outpaint", "v1/enterprise/image_editing/outpaint"])
def test_outpainting_has_the_size_that_was_asked_for(site: Site, key: str, path: str) -> None:
    body, headers = made(site, key, path, image=wide(), width=128, height=96, overlap_width=4)
    assert (body["meta"]["W"], body["meta"]["H"]) == (128, 96)
    assert "/temp/" in body["output"][0]  # by default, as documented
    assert "x-safelight-notes" not in headers
    with Image.open(io.BytesIO(site.http.get(body["output"][0]).content)) as picture:
        assert picture.size == (128, 96)


def test_an_outpainting_that_is_too_large_is_cut_and_says_so(site: Site, key: str) -> None:
    with site.closed_gate():
        reply = site.post("v6/image_editing/outpaint", key, image=wide(), overlap_width=64, instant_response="yes")
    assert reply.headers["x-safelight-notes"] == "width 1280 became 1024. overlap_width 64 became 42."
    assert (reply.json()["meta"]["W"], reply.json()["meta"]["H"]) == (1024, 720)
    site.post("v3/delete_image", key, request_id=reply.json()["id"])


@pytest.mark.parametrize("path", ["v6/image_editing/object_removal", "v1/enterprise/image_editing/object_removal"])
def test_what_a_mask_covers_is_painted_away(site: Site, key: str, path: str) -> None:
    body, _ = made(site, key, path, init_image=PHOTO, mask_image=PHOTO, width=64, height=64)
    assert (body["meta"]["prompt"][:16], body["meta"]["strength"]) == ("empty background", 1.0)


def test_a_checkpoint_that_would_paint_things_into_the_hole_is_not_asked(
    site: Site, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is outside of the mask stays to the last bit, and inside is what is around it."""
    monkeypatch.setattr(site.services.catalogue, "_wants", {site.services.catalogue.default: Wants(repaints=False)})
    told = heard(site, monkeypatch)
    before, mask = Image.new("RGB", (96, 64), "teal"), Image.new("L", (96, 64))
    before.paste("red", (40, 20, 60, 40))
    mask.paste(255, (36, 16, 64, 44))
    asked = {"init_image": uri(before), "mask_image": uri(mask)}
    body, headers = made(site, key, "v6/image_editing/object_removal", **asked)
    assert (told, body["meta"]["strength"]) == ([], 0.0)
    assert headers["x-safelight-notes"].startswith("What was removed was filled from around it, by no network")
    with Image.open(io.BytesIO(site.http.get(body["output"][0]).content)) as picture:
        assert picture.convert("RGB").getcolors() == [(96 * 64, (0, 128, 128))]
    made(site, key, "v6/image_editing/object_removal", **asked, strength=0.5)
    assert told[0].strength == 0.5
    assert told[0].init_image is not None
    assert tuple(told[0].init_image[30, 50]) == (0, 128, 128)


@pytest.mark.parametrize(
    ("path", "fields", "said"),
    [
        ("v6/interior/make", {}, "init_image is required"),
        ("v6/image_editing/outpaint", {"init_image": PHOTO}, "image is required"),
        ("v6/image_editing/outpaint", {"image": PHOTO, "overlap_width": -1}, "overlap_width must be at least 0"),
        ("v6/image_editing/object_removal", {"init_image": PHOTO}, "mask_image is required"),
    ],
)
def test_refusals_name_the_field(site: Site, key: str, path: str, fields: Json, said: str) -> None:
    reply = site.post(path, key, **fields)
    assert (reply.status_code, reply.json()["message"]) == (400, said)


def test_an_edited_picture_is_erased_with_what_it_was_made_from(site: Site, key: str) -> None:
    before = site.holdings()
    body, _ = made(site, key, "v6/image_editing/outpaint", image=wide(), width=128, height=96)
    assert site.post("v3/delete_image", key, request_id=body["id"]).json()["status"] == "success"
    assert site.http.get(body["output"][0]).status_code == 404
    after = site.holdings()
    assert (after["files"], after["requests"]) == (before["files"], before["requests"])
