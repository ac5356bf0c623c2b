"""``super_resolution`` under each of its names: a job that makes a picture larger, told in the words of the page."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from tests.wire.site import PHOTO, Json, Site

PATHS = {
    "v3/super_resolution": "url",
    "v5/super_resolution": "url",
    "v1/enterprise/super_resolution": "url",
    "v6/image_editing/super_resolution": "init_image",
    "v1/enterprise/image_editing/super_resolution": "init_image",
    "v1/enterprise/super_resolution/make": "init_image",
}
OLD = ("v3/super_resolution", "v5/super_resolution", "v1/enterprise/super_resolution")


def size_of(site: Site, url: str) -> tuple[int, int]:
    with Image.open(io.BytesIO(site.http.get(url).content)) as picture:
        return picture.size


@pytest.mark.parametrize("path", PATHS)
def test_a_picture_is_made_three_times_as_large_and_erased_like_any_other(site: Site, key: str, path: str) -> None:
    before = site.holdings()
    body: Json = site.post(path, key, **{PATHS[path]: PHOTO}).json()
    assert body["status"] == "success", body
    assert isinstance(body["output"], str) is (path in OLD)
    fetched = site.post(f"v3/fetch/{body['id']}", key).json()
    url = fetched["output"][0]
    with Image.open(io.BytesIO(site.http.get(url).content)) as picture:
        width, height = picture.size
    assert (width, height) == (body["meta"]["width"], body["meta"]["height"])
    assert (width % 3, body["meta"]["scale"], body["meta"]["model_id"]) == (0, 3, "safelight-enlarger")
    assert site.post("v3/delete_image", key, request_id=body["id"]).json()["status"] == "success"
    assert site.http.get(url).status_code == 404
    after = site.holdings()
    assert (after["files"], after["requests"]) == (before["files"], before["requests"])


def test_an_operators_network_by_its_name_and_another_name_by_the_bundled_one(site: Site, key: str) -> None:
    known = site.post("v6/image_editing/super_resolution", key, init_image=PHOTO, scale=2, model_id="deep")
    assert known.json()["meta"]["model_id"] == "deep"
    assert "x-safelight-notes" not in known.headers
    other = site.post("v6/image_editing/super_resolution", key, init_image=PHOTO, scale=2, model_id="RealESRGAN_x4plus")
    assert other.headers["x-safelight-notes"].startswith("model_id RealESRGAN_x4plus is not on this server")
    links = [reply.json()["output"][0] for reply in (known, other)]
    assert size_of(site, links[0]) == size_of(site, links[1])
    assert site.http.get(links[0]).content != site.http.get(links[1]).content


@pytest.mark.parametrize(
    ("fields", "status", "said"),
    [
        ({}, 400, "init_image is required"),
        ({"init_image": PHOTO, "scale": 8}, 400, "scale must be between 2 and 4"),
        ({"init_image": PHOTO, "scale": "big"}, 400, "scale must be a number"),
        ({"init_image": "QUJD"}, 400, "init_image is not a PNG, JPEG or WebP picture"),
        ({"init_image": PHOTO, "face_enhance": True}, 501, "face_enhance: this server has no face restorer."),
        ({"init_image": PHOTO, "webhook": "ftp://a.example/x"}, 400, "webhook must be an http or https address"),
    ],
)
def test_refusals_name_the_field(site: Site, key: str, fields: Json, status: int, said: str) -> None:
    reply = site.post("v6/image_editing/super_resolution", key, **fields)
    assert (reply.status_code, reply.json()["message"][: len(said)]) == (status, said)


def test_what_would_be_too_large_is_refused_with_its_size(site: Site, key: str) -> None:
    file = io.BytesIO()
    Image.new("RGB", (2000, 1500)).save(file, "PNG")
    reply = site.http.post(
        "/api/v6/image_editing/super_resolution",
        json={"key": key, "init_image": site_upload(site, key, file.getvalue()), "scale": 4},
    )
    assert reply.json()["message"] == "init_image would become 8000x6000, more than 16,777,216 pixels"


def site_upload(site: Site, key: str, png: bytes) -> str:
    import base64

    link: str = site.post("v3/base64_crop", key, image=base64.b64encode(png).decode(), crop="false").json()["link"]
    return link
