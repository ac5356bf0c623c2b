"""``caption``: a picture in words by a model of the operator's, a job like any other, refused by name without one."""

from __future__ import annotations

import base64

import pytest

from .examples import compare, examples, nearest
from .site import PHOTO, SAID, Json, Site
from .test_generation import listening

PATHS = ["v6/image_editing/caption", "v1/enterprise/image_editing/caption"]


def said(length: str) -> str:
    return f"{SAID}, {length}, 48 wide"


@pytest.mark.parametrize("path", PATHS)
def test_the_words_stand_in_output_and_fetch_and_the_webhook_say_the_same(seeing: Site, path: str) -> None:
    key = seeing.key()
    with listening() as (address, heard):
        body = seeing.post(path, key, init_image=PHOTO, length="long", webhook=address, track_id=7).json()
        call = heard.get(timeout=60)["body"]
    assert (body["status"], body["output"], body["proxy_links"]) == ("success", [said("long")], []), body
    assert (body["meta"]["length"], body["meta"]["model_id"]) == ("long", "blip")
    assert (call["status"], call["id"], call["output"], call["track_id"]) == ("success", body["id"], [said("long")], 7)
    fetched = seeing.post(f"{path.rpartition('/')[0]}/fetch/{body['id']}", key).json()
    assert fetched["output"] == [said("long")]
    own = seeing.http.get(f"/v1/jobs/{body['id']}", headers={"key": key}).json()
    assert (own["task"], own["output"]) == ("caption", [said("long")])


def test_its_answer_is_the_one_that_the_page_prints(seeing: Site) -> None:
    printed = [one for one in examples() if one.path.endswith("image_editing/caption")]
    assert printed
    for one in printed:
        body = seeing.post(one.path.removeprefix("/api/"), seeing.key(), init_image=PHOTO, length="long").json()
        near = nearest(one, body)
        assert near
        assert [each for each in compare(near, body) if each[1] != "extra"] == []


def test_the_words_rest_sealed_and_are_gone_with_the_job(seeing: Site) -> None:
    key, before = seeing.key(), seeing.holdings()
    body = seeing.post(PATHS[0], key, init_image=PHOTO).json()
    assert body["output"] == [said("normal")]
    kept = [path.read_bytes() for path in (seeing.settings.data_dir / "blobs").rglob("*.txt") if path.is_file()]
    assert kept
    assert all(SAID.encode() not in data for data in kept)
    reply = seeing.post("v3/delete_image", key, request_id=body["id"], type="image")
    receipt = seeing.http.get(f"/v1/erasures/{reply.headers['x-safelight-receipt']}", headers={"key": key}).json()
    assert receipt["requests"] == 1
    assert seeing.post(f"v6/image_editing/fetch/{body['id']}", key).status_code == 404
    after = seeing.holdings()
    assert (after["files"], after["requests"]) == (before["files"], before["requests"])


def test_sent_again_it_is_the_same_job_and_another_account_hears_nothing_of_it(seeing: Site) -> None:
    key, mark = seeing.key(), {"Idempotency-Key": "one"}
    asked = {"key": key, "init_image": PHOTO, "base64": "yes"}
    first, again = (seeing.http.post(f"/api/{PATHS[0]}", json=asked, headers=mark) for _ in range(2))
    assert first.json() == again.json()
    assert first.json()["output"] == [said("normal")]
    assert "base64" in first.headers["x-safelight-ignored"]
    assert seeing.post(f"v6/image_editing/fetch/{first.json()['id']}", seeing.key()).status_code == 404


@pytest.mark.parametrize("path", ["/api/v6/image_editing/caption", "/sdapi/v1/interrogate"])
def test_what_is_not_to_be_stored_is_answered_and_gone(seeing: Site, path: str) -> None:
    before, key = seeing.holdings(), seeing.key()
    asked: Json = {"init_image": PHOTO, "image": PHOTO, "store": "none"}
    reply = seeing.http.post(path, json=asked, headers={"Authorization": f"Bearer {key}"})
    body = reply.json()
    assert body.get("caption", body.get("output")) in (said("normal"), [said("normal")])
    after = seeing.holdings()
    assert (after["files"], after["requests"]) == (before["files"], before["requests"])
    assert reply.headers["x-safelight-receipt"]


def test_the_web_uis_interrogate_says_it_too(seeing: Site) -> None:
    ask = {"image": base64.b64encode(base64.b64decode(PHOTO.partition(",")[2])).decode()}
    headers = {"Authorization": f"Bearer {seeing.key()}"}
    assert seeing.http.post("/sdapi/v1/interrogate", json=ask, headers=headers).json() == {"caption": said("normal")}
    refused = seeing.http.post("/sdapi/v1/interrogate", json=ask | {"model": "deepdanbooru"}, headers=headers)
    assert refused.status_code in (400, 422)


@pytest.mark.parametrize("path", [*(f"/api/{each}" for each in PATHS), "/sdapi/v1/interrogate"])
def test_without_such_a_model_it_is_refused_by_name(site: Site, key: str, path: str) -> None:
    reply = site.http.post(path, json={"init_image": PHOTO, "image": PHOTO}, headers={"Authorization": f"Bearer {key}"})
    assert reply.status_code == 501
    assert "Its operator can add one: SAFELIGHT_CAPTIONERS." in reply.text


def test_another_length_is_refused(seeing: Site) -> None:
    reply = seeing.post(PATHS[0], seeing.key(), init_image=PHOTO, length="endless")
    assert (reply.status_code, reply.json()["message"]) == (400, "length must be one of short, normal, long")
    assert seeing.post(PATHS[0], seeing.key()).json()["message"] == "init_image is required"
