"""Sound, video and 3D files at their documented pages: taken by content, served safely, and deleted by their type."""

from __future__ import annotations

import base64

import pytest

from tests.service.media_files import FILES

from .site import Json, Site

PAGES = {
    "video": ("v6/video/base64_to_url", "init_obj", ".mp4", "video/mp4"),
    "voice": ("v6/voice/base64_to_url", "init_audio", ".wav", "audio/wav"),
    "3d": ("v6/3d/base64_to_url", "init_obj", ".obj", "model/obj"),
}


def lent(site: Site, key: str, medium: str) -> Json:
    path, field, suffix, media_type = PAGES[medium]
    given = f"data:{media_type};base64, {base64.b64encode(FILES[suffix]).decode()}"
    reply = site.post(path, key, **{field: given})
    body: Json = reply.json()
    assert (reply.status_code, body["status"]) == (200, "success"), body
    return body


@pytest.mark.parametrize("medium", PAGES)
def test_a_file_comes_back_as_it_was_sent_and_rests_sealed(site: Site, key: str, medium: str) -> None:
    url = lent(site, key, medium)["output"][0]
    assert url.startswith(f"{site.settings.base_url}/temp/")
    reply = site.http.get(url)
    _, _, suffix, media_type = PAGES[medium]
    assert (reply.content, reply.headers["content-type"]) == (FILES[suffix], media_type)
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers.get("content-disposition") == ("attachment" if medium == "3d" else None)
    kept = (site.settings.data_dir / "blobs").rglob(f"*{suffix}")
    assert all(FILES[suffix] not in path.read_bytes() for path in kept)


@pytest.mark.parametrize("medium", PAGES)
def test_what_is_another_thing_than_its_page_is_for_is_refused(site: Site, key: str, medium: str) -> None:
    path, field, *_ = PAGES[medium]
    for other, suffix in {"video": ".avi", "voice": ".wav", "3d": ".obj"}.items():
        if other != medium:
            reply = site.post(path, key, **{field: base64.b64encode(FILES[suffix]).decode()})
            assert reply.status_code == 400
            assert reply.json()["message"].startswith(f"{field} is no {medium} file of a known format")
    assert site.post(path, key).json()["message"] == f"{field} is required"


@pytest.mark.parametrize("medium", PAGES)
def test_of_another_type_is_as_good_as_unknown(site: Site, key: str, medium: str) -> None:
    body = lent(site, key, medium)
    named = {"image": body["output"][0]}
    unknown = site.post("v3/delete_image", key, request_id=1, type="image")
    for wrong in {"image", "video", "voice", "3d"} - {medium}:
        reply = site.post("v3/delete_image", key, request_id=body["id"], type=wrong)
        assert (reply.status_code, reply.content) == (unknown.status_code, unknown.content)
        assert site.post("v3/delete_image", key, **named, type=wrong).status_code == 400
    assert site.http.get(body["output"][0]).status_code == 200
    for again in ({"request_id": body["id"]}, named, {"request_id": str(body["id"])}):
        assert site.post("v3/delete_image", key, **again, type=medium).status_code == 200
    assert site.http.get(body["output"][0]).status_code == 404


def test_a_container_of_both_is_what_it_was_sent_as(site: Site, key: str) -> None:
    both = base64.b64encode(FILES[".mp4"]).decode()
    url = site.post("v6/voice/base64_to_url", key, init_audio=both).json()["output"][0]
    assert site.http.get(url).headers["content-type"] == "audio/mp4"


def test_a_picture_is_no_video(site: Site, key: str) -> None:
    made = site.made(key)
    assert site.post("v3/delete_image", key, request_id=made["id"], type="video").status_code == 400
    assert site.post("v3/delete_image", key, request_id=made["id"], type="film").json()["message"] == (
        "type must be one of image, video, voice, 3d"
    )
    assert site.post("v3/delete_image", key, request_id=made["id"], type="image").status_code == 200


def test_the_other_dialect_deletes_videos_where_it_deletes_videos(site: Site, key: str) -> None:
    video, picture = lent(site, key, "video"), site.made(key)

    def ask(path: str, *ids: int) -> tuple[int, object]:
        headers = {"Authorization": f"Bearer {key}"}
        reply = site.http.post(f"/v1/{path}", json={"taskids": [str(each) for each in ids]}, headers=headers)
        return reply.status_code, reply.json()["msg"]

    assert ask("video/deletevideotask", video["id"], picture["id"]) == (
        400, f"taskids names unknown tasks: {picture['id']}",
    )  # fmt: skip
    assert ask("images/deleteimagestask", video["id"]) == (400, f"taskids names unknown tasks: {video['id']}")
    assert ask("video/deletevideotask", video["id"]) == (200, "Successfully")
    assert site.http.get(video["output"][0]).status_code == 404
    assert site.http.get(picture["output"][0]).status_code == 200


def test_a_video_is_no_init_image(site: Site, key: str) -> None:
    reply = site.img2img(key, init_image=lent(site, key, "video")["output"][0])
    assert (reply.status_code, reply.json()["message"]) == (400, "init_image is not a PNG, JPEG or WebP picture")
