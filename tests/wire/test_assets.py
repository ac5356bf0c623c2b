"""Pictures at their addresses, uploads, deletes and receipts, as the Stable Diffusion API's clients call them."""

from __future__ import annotations

import base64
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import psycopg
import pytest
from PIL import Image

from tests.service.pictures import saved, still

from .site import PHOTO, Site

SAFE = {
    "cache-control": "private, no-store",
    "content-security-policy": "sandbox; default-src 'none'",
    "x-content-type-options": "nosniff",
}


def test_a_picture_is_served_safely_and_kept_by_nobody(site: Site, key: str) -> None:
    url = site.made(key)["output"][0]
    reply = site.http.get(url)
    assert {name: reply.headers[name] for name in SAFE} == SAFE
    assert reply.content.startswith(b"\x89PNG")
    head = site.http.head(url)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(reply.content))


def test_a_get_that_announces_a_chunked_body_and_sends_none_is_answered(site: Site, key: str) -> None:
    path = site.made(key)["output"][0].removeprefix(site.settings.base_url)
    with socket.create_connection(("127.0.0.1", site.settings.port), timeout=10) as caller:
        head = f"GET {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n"
        caller.sendall(head.encode())
        answered = b""
        while part := caller.recv(65536):
            answered += part
    assert answered.startswith(b"HTTP/1.1 200")
    assert b"\x89PNG" in answered


@pytest.mark.parametrize(
    "name",
    ["x", "x.png", "05c3260d-6a2e-4aa5-82f0-e952f2a5fa10-0.png", "..%2f..%2fetc%2fpasswd", "%00", "a%20b.base64"],
)
def test_what_is_not_there_is_not_there_in_every_folder(site: Site, name: str) -> None:
    for folder in ("generations", "temp", "uploads"):
        reply = site.http.get(f"/{folder}/{name}")
        assert (reply.status_code, reply.json()["status"]) == (404, "error")


def test_inputs_are_never_served(site: Site, key: str) -> None:
    site.made(key)
    names = [path.name for path in (site.settings.data_dir / "blobs").rglob("init_image/**/*.png")]
    assert names
    statuses = {site.http.get(f"/{folder}/{names[0]}").status_code for folder in ("generations", "temp", "uploads")}
    assert statuses == {404}


def test_an_upload_is_a_square_of_512_pixels_unless_told_otherwise(site: Site, key: str) -> None:
    picture = "data:image/png;base64," + base64.b64encode(saved(Image.new("RGB", (300, 100), "red"))).decode()
    body = site.post("v3/base64_crop", key, image=picture).json()
    assert body == {
        "status": "success",
        "messege": "image uploaded",
        "link": body["link"],
        "request_id": body["request_id"],
    }
    assert type(body["request_id"]) is int
    assert body["link"].startswith(f"{site.settings.base_url}/uploads/")
    whole = site.post("v3/base64_crop", key, image=picture, crop="false").json()
    sizes = [Image.open(BytesIO(site.http.get(each["link"]).content)).size for each in (body, whole)]
    assert sizes == [(512, 512), (300, 100)]


def test_an_upload_is_an_init_image_until_it_is_deleted_by_its_id(site: Site, key: str) -> None:
    upload = site.post("v3/base64_crop", key, image=PHOTO, crop="false").json()
    assert site.made(key, init_image=upload["link"])["status"] == "success"
    deleted = site.post("v3/delete_image", key, request_id=upload["request_id"])
    assert (deleted.status_code, deleted.json()) == (200, {"status": "success", "messege": "image deleted"})
    assert site.http.get(upload["link"]).status_code == 404
    gone = site.img2img(key, init_image=upload["link"])
    assert (gone.status_code, gone.json()["message"]) == (400, "init_image was answered with status 404")


def test_a_temporary_upload(site: Site, key: str) -> None:
    body = site.post("v6/base64_to_url", key, base64_string=PHOTO.partition(",")[2]).json()
    assert body["output"][0].startswith(f"{site.settings.base_url}/temp/")
    assert site.http.get(body["output"][0]).content.startswith(b"\x89PNG")


@pytest.mark.parametrize("by", ["id", "quoted id", "name", "address", "base64 address"])
def test_a_deleted_generation_is_gone_everywhere(site: Site, key: str, by: str) -> None:
    made = site.made(key, samples=2)
    number, url = made["id"], made["output"][0]
    given = {
        "id": {"request_id": number},
        "quoted id": {"request_id": str(number)},
        "name": {"image": url.rpartition("/")[2]},
        "address": {"image": url},
        "base64 address": {"image": url.replace(".png", ".base64")},
    }[by]
    deleted = site.post("v3/delete_image", key, **given, type="image")
    assert (deleted.status_code, deleted.json()) == (200, {"status": "success", "messege": "image deleted"})
    assert [site.http.get(each).status_code for each in made["output"]] == [404, 404]
    assert site.http.get(url.replace(".png", ".base64")).status_code == 404
    assert site.post(f"v3/fetch/{number}", key).status_code == 404
    again = site.post("v3/delete_image", key, **given)
    assert (again.status_code, again.json()) == (200, {"status": "success", "messege": "image deleted"})


def test_a_delete_takes_forms_and_query_strings(site: Site, key: str) -> None:
    one, two, three = (site.made(key) for _ in range(3))
    by_form = site.http.post("/api/v3/delete_image", data={"key": key, "image": one["output"][0].rpartition("/")[2]})
    by_query = site.http.post("/api/v3/delete_image", params={"request_id": two["id"]}, headers={"key": key})
    by_parts = site.http.post(
        "/api/v3/delete_image", files={"key": (None, key), "request_id": (None, str(three["id"]))}
    )
    for reply in (by_form, by_query, by_parts):
        assert (reply.status_code, reply.json()) == (200, {"status": "success", "messege": "image deleted"})
    assert {site.http.get(each["output"][0]).status_code for each in (one, two, three)} == {404}


def test_a_running_generation_can_be_deleted(site: Site, key: str) -> None:
    with site.closed_gate():
        body = site.held_back(key)
        assert site.post("v3/delete_image", key, request_id=body["id"]).status_code == 200
        assert site.post(f"v3/fetch/{body['id']}", key).status_code == 404
    assert site.http.get(body["future_links"][0]).status_code == 404


def test_a_request_that_is_deleted_while_it_is_held_is_told_so(site: Site, key: str) -> None:
    with site.closed_gate(), ThreadPoolExecutor(1) as threads:
        held = threads.submit(site.img2img, key)
        account = site.ask(site.services.accounts.authenticate(key))
        while not (jobs := _jobs_of(site, account.id)):
            time.sleep(0.05)
        assert site.post("v3/delete_image", key, request_id=jobs[0]).status_code == 200
        reply = held.result(60)
    assert (reply.status_code, reply.json()["status"]) == (404, "error")


def _jobs_of(site: Site, account_id: int) -> list[int]:
    assert site.settings.database_url
    with psycopg.connect(site.settings.database_url) as connection:
        return [row[0] for row in connection.execute("SELECT id FROM jobs WHERE account_id = %s", [account_id])]


def test_what_is_not_yours_cannot_be_deleted(site: Site, key: str) -> None:
    for fields in ({"request_id": 1}, {"image": "05c3260d-6a2e-4aa5-82f0-e952f2a5fa10-0.png"}):
        reply = site.post("v3/delete_image", key, **fields)
        said = f"{next(iter(fields))} names no picture of yours"
        assert (reply.status_code, reply.json()) == (400, {"status": "error", "message": said, "messege": said})
    assert site.post("v3/delete_image", key).json()["message"] == "request_id is required"


def test_the_receipt_of_a_delete_tells_what_and_when_but_not_what_it_showed(site: Site, key: str) -> None:
    made = site.made(key, prompt="a secret garden")
    reply = site.post("v3/delete_image", key, request_id=made["id"])
    receipt = reply.headers["x-safelight-receipt"]
    body = site.http.get(f"/v1/erasures/{receipt}", headers={"Authorization": f"Bearer {key}"}).json()
    assert (body["id"], body["scope"], body["request_ids"], body["assets"]) == (receipt, "job", [made["id"]], 2)
    assert body["verified_at"] is None or body["requested_at"] <= body["verified_at"]
    assert "garden" not in str(body)
    assert site.http.get(f"/v1/erasures/{receipt}").status_code == 401
    for stranger in (f"/v1/erasures/{receipt}", "/v1/erasures/nonsense"):
        foreign = site.http.get(stranger, headers={"key": site.key()})
        assert (foreign.status_code, foreign.json()) == (404, {"status": "error", "message": "Not found"})


@pytest.mark.parametrize("path", ["v3/clear_cache", "v5/clear_cache"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_clear_cache_is_taken_in_all_four_ways(site: Site, key: str, method: str, path: str) -> None:
    temporary = site.post("v6/base64_to_url", key, base64_string=PHOTO).json()["output"][0]
    made = site.made(key)["output"][0]
    reply = site.http.request(method, f"/api/{path}", json={"key": key})
    assert (reply.status_code, reply.json()) == (200, {"status": "success", "message": "Cache cleared"})
    assert len(reply.headers["x-safelight-receipt"]) == 36
    assert site.http.get(temporary).status_code == 404
    assert site.http.get(made).status_code == 200


def test_the_enterprise_pages_word_it_otherwise(site: Site, key: str) -> None:
    reply = site.post("v1/enterprise/clear_cache", key)
    assert reply.json() == {"status": "success", "message": "Cache cleared successfully"}


def test_a_broken_upload_leaves_nothing(site: Site, key: str) -> None:
    before = site.holdings()
    cut = "data:image/png;base64," + base64.b64encode(still()[:90]).decode()
    reply = site.post("v3/base64_crop", key, image=cut)
    assert reply.status_code == 400
    assert reply.json()["message"].startswith("image ")
    assert site.holdings() == before
