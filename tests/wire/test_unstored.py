"""`store: none` in every dialect: the picture in the answer, as base64, and nothing of it anywhere else."""

from __future__ import annotations

import base64

import httpx
import pytest

from .signed_in import SignedIn
from .site import PHOTO, Json, Site

ASKED: Json = {"prompt": "a cat", "width": 64, "height": 64, "num_inference_steps": 4, "seed": 7}
WAYS: dict[str, tuple[str, Json]] = {
    "modelslab": ("/api/v3/text2img", ASKED),
    "modelslab, from a picture": ("/api/v6/images/img2img", ASKED | {"init_image": PHOTO}),
    "modelslab, enlarged": ("/api/v3/super_resolution", {"url": PHOTO, "scale": 2}),
    "openai": ("/v1/images/generations", {"prompt": "a cat", "size": "64x64"}),
    "a1111": ("/sdapi/v1/txt2img", {"prompt": "a cat", "width": 64, "height": 64, "steps": 4}),
}


def ask(site: Site, key: str, path: str, body: Json, store: object = "none") -> httpx.Response:
    return site.http.post(path, json=body | {"store": store}, headers={"Authorization": f"Bearer {key}"})


def pictures(body: Json) -> list[str]:
    """As base64, wherever a dialect has them."""
    found = body.get("output") or body.get("images") or [each["b64_json"] for each in body.get("data", ())]
    return [found] if isinstance(found, str) else list(found)


@pytest.mark.parametrize("way", WAYS)
def test_the_picture_is_in_the_answer_and_nowhere_else(site: Site, key: str, way: str) -> None:
    path, body = WAYS[way]
    before = site.holdings()
    reply = ask(site, key, path, body)
    assert reply.status_code == 200, reply.text
    (made,) = pictures(reply.json())
    assert base64.b64decode(made).startswith(b"\x89PNG")
    assert site.http.get("/v1/jobs", headers={"key": key}).json()["jobs"] == []
    after = site.holdings()
    assert {table: after[table] for table in ("requests", "files")} == {
        table: before[table] for table in ("requests", "files")
    }
    receipt = site.http.get(f"/v1/erasures/{reply.headers['x-safelight-receipt']}", headers={"key": key}).json()
    assert (receipt["scope"], receipt["requests"]) == ("unstored", 1)


def test_it_is_the_picture_that_would_be_stored(site: Site, key: str) -> None:
    stored = site.post("v3/text2img", key, **ASKED).json()
    (made,) = pictures(ask(site, key, "/api/v3/text2img", ASKED).json())
    assert base64.b64decode(made) == site.http.get(stored["output"][0]).content


def test_a_stream_of_openais(site: Site, key: str) -> None:
    told = ask(
        site, key, "/v1/images/generations", {"prompt": "a cat", "size": "64x64", "stream": True}, store=False
    ).text
    assert "image_generation.completed" in told
    assert site.http.get("/v1/jobs", headers={"key": key}).json()["jobs"] == []


def test_a_job_that_fails_leaves_nothing_either(site: Site, key: str) -> None:
    reply = ask(site, key, "/api/v3/text2img", ASKED | {"prompt": "a mistake"})
    assert reply.json()["status"] == "failed"
    assert site.http.get("/v1/jobs", headers={"key": key}).json()["jobs"] == []


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("/api/v3/text2img", ASKED | {"webhook": "http://127.0.0.1/"}, "webhook cannot be had with store none"),
        ("/api/v3/text2img", ASKED | {"temp": "yes"}, "temp cannot be had with store none"),
        ("/v1/images/generations", {"prompt": "a cat", "response_format": "url"}, "response_format must be b64_json"),
        ("/v1/images/zimage", {"prompt": "a cat"}, "store cannot be none here"),
        ("/api/v6/base64_to_url", {"base64_string": PHOTO}, "store cannot be none here"),
    ],
)
def test_what_cannot_be_had_is_refused_by_name(site: Site, key: str, path: str, body: Json, said: str) -> None:
    reply = ask(site, key, path, body)
    assert reply.status_code == 400
    assert said in reply.text
    assert ask(site, key, path, body, store="perhaps").status_code == 400


def test_false_means_none_beside_a_limit_too(site: Site, key: str) -> None:
    told = site.http.put("/v1/retention", json={"seconds": 3600, "store": False}, headers={"key": key}).json()
    assert (told["store"], [each["seconds"] for each in told["limits"]]) == ("none", [3600])


def test_an_account_that_wants_nothing_stored(site: Site, key: str) -> None:
    told = site.http.put("/v1/retention", json={"store": "none"}, headers={"key": key}).json()
    assert (told["store"], told["keys_without_store"]) == ("none", [])
    assert len(pictures(site.post("v3/text2img", key, **ASKED).json())[0]) > 100
    assert site.http.get("/v1/jobs", headers={"key": key}).json()["jobs"] == []
    refused = site.post("v6/base64_to_url", key, base64_string=PHOTO)
    assert "store cannot be none here" in refused.text
    number = site.ask(site.services.accounts.authenticate(key)).key_id
    told = site.http.put("/v1/retention", json={"store": "none", "key_id": number}, headers={"key": key}).json()
    assert told["keys_without_store"] == [number]
    with SignedIn(site, key) as browser:
        assert "Store again" in browser.get("/account").text
        assert "can only be had stored" in browser.post("/make", prompt="a cat", width=64, height=64, steps=4).text
        assert "Store nothing" in browser.post("/account/retention", store="all").text
