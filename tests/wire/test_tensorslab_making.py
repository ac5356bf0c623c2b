"""TensorsLab's generation: bodies as its clients send them, tasks through all their states, refusals in its envelope."""

from __future__ import annotations

import base64
import io
import json
import time

import httpx
import pytest
from PIL import Image

from tests.service.pictures import still
from tests.wire.site import PHOTO, Json, Site

MODELS = ("seedreamv4", "seedreamv45", "seedreamv5", "zimage", "quickedit")


def make(site: Site, key: str, model: str, **sent: object) -> httpx.Response:
    headers = {"Authorization": f"Bearer {key}"}
    return site.http.post(f"/v1/images/{model}", headers=headers, **sent)  # type: ignore[arg-type]  # as the test says


def status(site: Site, key: str, task: str) -> Json:
    reply = site.http.post("/v1/images/infobytaskid", json={"taskid": task}, headers={"Authorization": key})
    data: Json = reply.json()["data"]
    return data


def finished(site: Site, key: str, reply: httpx.Response) -> Json:
    body = reply.json()
    assert (reply.status_code, body["code"], body["msg"]) == (200, 1000, "Task created successfully")
    assert set(body["data"]) == {"taskid"}
    while (now := status(site, key, body["data"]["taskid"]))["image_status"] in (1, 2):
        time.sleep(0.05)
    assert now["image_status"] == 3
    return now


@pytest.mark.parametrize("model", MODELS)
def test_a_prompt_alone_as_a_multipart_form(site: Site, key: str, model: str) -> None:
    task = finished(site, key, make(site, key, model, files={"prompt": (None, "a cat"), "resolution": (None, "64x64")}))
    assert (task["width"], task["height"], task["category"], len(task["url"])) == (64, 64, model, 1)
    assert site.http.get(task["url"][0]).headers["content-type"] == "image/png"


def test_everything_that_the_documents_show_at_once(site: Site, key: str) -> None:
    """The generated example of the seedreamv45 page: text and file under two names of one thing."""
    fields = {"category": "seedreamv45", "prompt": "a cat", "batchsize": "2", "resolution": "2K", "sourceImage": ""}
    files = {"sourceImage.items": ("photo.png", still(), "image/png")}
    with site.closed_gate():
        reply = make(site, key, "seedreamv45", data=fields, files=files)
        now = status(site, key, reply.json()["data"]["taskid"])
    assert (now["width"], now["height"], now["image_status"]) == (1024, 1024, now["image_status"])
    notes = reply.headers["x-safelight-notes"]
    assert "model_id seedreamv45 is not on this server; plain is used." in notes
    assert "resolution 2K is more than this server makes; the picture has 1024x1024." in notes
    site.http.post("/v1/images/deleteimagestask", json={"taskids": [now["taskid"]]}, headers={"Authorization": key})


def test_json_with_an_address_keeps_the_pictures_proportions(site: Site, key: str) -> None:
    wide = io.BytesIO()
    Image.new("RGB", (128, 64), "teal").save(wide, "PNG")
    sent = {"image": "data:image/png;base64," + base64.b64encode(wide.getvalue()).decode(), "crop": "false"}
    mine = site.post("v3/base64_crop", key, **sent).json()["link"]
    task = finished(site, key, make(site, key, "quickedit", json={"prompt": "a cat", "imageUrl": mine, "seed": 7}))
    assert (task["width"], task["height"], task["origseed"]) == (128, 64, 7)


def test_several_files_under_one_name(site: Site, key: str) -> None:
    files = [("sourceImage", ("a.png", still(), "image/png")), ("sourceImage", ("b.png", still(), "image/png"))]
    reply = make(site, key, "quickedit", data={"prompt": "a cat", "resolution": "64*64"}, files=files)
    assert reply.headers["x-safelight-notes"].endswith("Of 2 source pictures the first is used.")
    finished(site, key, reply)


@pytest.mark.parametrize(
    ("resolution", "size"),
    [("1:1", (1024, 1024)), ("16:9", (1024, 576)), ("9:16", (576, 1024)), ("4:5", (816, 1024)), ("640x480", (640, 480)),
     ("1024*1024", (1024, 1024)), ("2560x1440", (1024, 576)), ("4K", (1024, 1024)), ("1k", (1024, 1024))],
)  # fmt: skip
def test_resolution_in_all_its_spellings(resolution: str, size: tuple[int, int]) -> None:
    from safelight.wire.tensorslab.making import read_resolution

    assert read_resolution(resolution, 1024, []) == size


@pytest.mark.parametrize("resolution", ["auto", "", None])
def test_auto_is_no_resolution(resolution: str | None) -> None:
    from safelight.records import Operation
    from safelight.wire.forms import Form
    from safelight.wire.tensorslab.making import read_request

    notes: list[str] = []
    request = read_request(
        Form({"prompt": "a cat", "resolution": resolution}), "zimage", Operation.text2img, notes, 512
    )
    assert (request.width, request.height, notes) == (512, 512, [])


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"prompt": ""}, "prompt is required"),
        ({"batchsize": 16}, "batchsize must be between 1 and 15"),
        ({"resolution": "huge"}, "resolution must be a proportion (16:9), 1K, 2K or 4K, or pixels (1024x768)"),
        ({"resolution": "100:1"}, "resolution must be a proportion (16:9), 1K, 2K or 4K, or pixels (1024x768)"),
        ({"imageUrl": "http://10.0.0.1/a.png"}, "imageUrl names a host that must not be called"),
    ],
)
def test_refusals_come_in_the_envelope_and_leave_nothing(site: Site, key: str, fields: Json, said: str) -> None:
    before = site.holdings()
    reply = make(site, key, "seedreamv4", json={"prompt": "a cat", **fields})
    assert (reply.status_code, reply.json()["code"]) == (400, 9999)
    assert reply.json()["msg"].startswith(said.split(" names", maxsplit=1)[0])
    assert site.holdings() == before


def test_a_file_that_is_no_picture(site: Site, key: str) -> None:
    reply = make(site, key, "quickedit", data={"prompt": "a"}, files={"sourceImage": ("a.png", b"GIF89a", "image/png")})
    assert json.loads(reply.text) == {"code": 9999, "msg": "sourceImage is a GIF; send a PNG, JPEG or WebP picture"}


def test_wrong_key(site: Site) -> None:
    assert make(site, "wrong", "zimage", json={"prompt": "a cat"}).json() == {"code": 9999, "msg": "Invalid API key"}


def test_a_deleted_task_is_gone_with_its_pictures(site: Site, key: str) -> None:
    task = finished(
        site, key, make(site, key, "zimage", json={"prompt": "a", "resolution": "64x64", "sourceImage": PHOTO})
    )
    gone = site.http.post(
        "/v1/images/deleteimagestask", json={"taskids": [task["taskid"]]}, headers={"Authorization": key}
    )
    assert gone.json()["data"] == {"status": "Success"}
    assert site.http.get(task["url"][0]).status_code == 404
