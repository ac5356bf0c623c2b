"""OpenAI's official package, unchanged, against this server: every call that it has for pictures, and every kind of error."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import openai
import pytest
from openai import OpenAI
from PIL import Image

from .site import PHOTO, Json, Site
from .test_jobs import slow

PROMPT = "a red apple"
SMALL: Any = "64x64"


@pytest.fixture
def client(site: Site, key: str) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{site.settings.base_url}/v1", api_key=key, max_retries=0) as client:
        yield client


def png(mode: str = "RGB", colour: Any = "navy", size: tuple[int, int] = (64, 64)) -> bytes:
    file = io.BytesIO()
    Image.new(mode, size, colour).save(file, "PNG")
    return file.getvalue()


def half_clear(colour: Any = "navy") -> bytes:
    """The left half transparent."""
    picture = Image.new("RGBA", (64, 64), colour)
    picture.paste((0, 0, 0, 0), (0, 0, 32, 64))
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def opened(b64: str | None) -> Image.Image:
    assert b64
    return Image.open(io.BytesIO(base64.b64decode(b64)))


def pixels(picture: Image.Image) -> Any:
    return np.asarray(picture.convert("RGB"))


def test_generations_by_address_and_inline(site: Site, client: OpenAI) -> None:
    made = client.images.generate(prompt=PROMPT, model="dall-e-3", n=2, size=SMALL, user="me", extra_body={"seed": 7})
    assert made.data
    assert made.created > 1_700_000_000
    assert (made.size, made.output_format, made.quality, made.background) == ("64x64", "png", "medium", "opaque")
    assert len(made.data) == 2
    address = made.data[0].url
    assert address
    assert made.data[0].b64_json is None
    first = site.http.get(address).content
    inline = client.images.generate(prompt=PROMPT, model="gpt-image-1", size=SMALL, extra_body={"seed": 7})
    assert inline.data
    assert base64.b64decode(inline.data[0].b64_json or "") == first


def test_a_picture_that_came_inline_is_a_job_like_any_other(site: Site, client: OpenAI, key: str) -> None:
    client.images.generate(prompt="a unique pear", size=SMALL, response_format="b64_json")
    (job,) = site.http.get("/v1/jobs", params={"search": "unique"}, headers={"key": key}).json()["jobs"]
    assert site.http.get(job["output"][0]).status_code == 200
    receipt = site.http.delete(f"/v1/jobs/{job['id']}", headers={"key": key}).json()["receipt"]
    assert site.http.get(job["output"][0]).status_code == 404
    assert site.http.get(f"/v1/erasures/{receipt}", headers={"key": key}).json()["assets"] == 1


@pytest.mark.parametrize("kind", ["jpeg", "webp"])
def test_other_formats_are_made_on_the_way_out(client: OpenAI, kind: Any) -> None:
    made = [
        client.images.generate(prompt=PROMPT, size=SMALL, output_format=kind, output_compression=quality, extra_body={"seed": 1})
        for quality in (90, 5)
    ]  # fmt: skip
    fine, coarse = (opened(each.data[0].b64_json) for each in made if each.data)
    assert (fine.format, fine.size) == (kind.upper(), (64, 64))
    assert len(made[0].data[0].b64_json or "") > len(made[1].data[0].b64_json or "")  # type: ignore[index]
    assert not fine.info.get("exif")
    assert coarse.size == (64, 64)


def test_a_stream_of_partial_pictures(site: Site, client: OpenAI) -> None:
    with slow(site, 0.15):
        stream = client.images.generate(
            prompt=PROMPT, size=SMALL, stream=True, partial_images=2, output_format="jpeg", extra_body={"steps": 14}
        )
        events: list[Any] = list(stream)
    assert [event.type for event in events] == [*["image_generation.partial_image"] * 2, "image_generation.completed"]
    assert [event.partial_image_index for event in events[:2]] == [0, 1]
    assert {opened(event.b64_json).size for event in events} == {(64, 64)}
    assert {opened(event.b64_json).format for event in events} == {"JPEG"}
    assert {(event.size, event.output_format) for event in events} == {("64x64", "jpeg")}
    assert events[-1].usage.total_tokens == 0


def test_a_stream_without_partial_pictures_has_each_whole_one(client: OpenAI) -> None:
    events: list[Any] = list(client.images.generate(prompt=PROMPT, size=SMALL, stream=True, n=2))
    assert [event.type for event in events] == ["image_generation.completed"] * 2


def test_an_edit_starts_from_the_picture(client: OpenAI) -> None:
    def edited(colour: str, **more: Any) -> Any:
        fields: Any = {"prompt": PROMPT, "response_format": "b64_json", "extra_body": {"seed": 3}} | more
        made = client.images.edit(image=("a.png", png(colour=colour)), **fields)
        assert made.data
        assert made.size == "64x64"
        return pixels(opened(made.data[0].b64_json)).astype(float)

    def distance(picture: Any) -> float:
        return float(np.abs(picture - (0, 0, 128)).mean())

    assert distance(edited("navy", input_fidelity="high")) < distance(edited("navy")) < distance(edited("red"))


@pytest.mark.parametrize("own", [True, False])
def test_what_is_transparent_is_painted_anew(client: OpenAI, own: bool) -> None:
    """In a mask, or without one in the picture itself."""
    given: Any = (
        {"image": ("a.png", half_clear())} if own else {"image": ("a.png", png()), "mask": ("m.png", half_clear())}
    )
    made = client.images.edit(**given, prompt=PROMPT, size=SMALL, response_format="b64_json")
    assert made.data
    picture = pixels(opened(made.data[0].b64_json))
    assert (picture[:, 32:] == (0, 0, 128)).all()
    assert len(np.unique(picture[:, :32].reshape(-1, 3), axis=0)) > 100


def test_of_several_pictures_the_first_counts(client: OpenAI) -> None:
    fields: Any = {"prompt": PROMPT, "response_format": "b64_json", "extra_body": {"seed": 3}}
    one = client.images.edit(image=("a.png", png()), **fields)
    raw = client.images.with_raw_response.edit(image=[("a.png", png()), ("b.png", png(colour="red"))], **fields)
    assert raw.headers["x-safelight-notes"] == "Of several pictures the first is edited; the others are not read."
    two = raw.parse()
    assert one.data
    assert two.data
    assert one.data[0].b64_json == two.data[0].b64_json


def test_an_edit_as_a_stream(client: OpenAI) -> None:
    events: list[Any] = list(client.images.edit(image=("a.png", png()), prompt=PROMPT, stream=True))
    assert [event.type for event in events] == ["image_edit.completed"]


def test_pictures_in_json(site: Site, key: str) -> None:
    for image in (PHOTO, [{"image_url": PHOTO}]):
        body = {"prompt": PROMPT, "image": image, "size": "64x64"}
        reply = site.http.post("/v1/images/edits", json=body, headers={"Authorization": f"Bearer {key}"})
        assert reply.status_code == 200, reply.text


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the package says so of this one
def test_librechat_asks_as_its_source_does(site: Site, client: OpenAI, key: str) -> None:
    """For a picture by the official package, for an edit by a form of its own; of both it reads ``b64_json`` alone."""
    asked: Any = {
        "model": "gpt-image-1",
        "n": 1,
        "background": "auto",
        "output_format": "png",
        "quality": "auto",
        "size": "auto",
    }
    made = client.images.generate(prompt="a house", **asked)
    assert made.data
    assert opened(made.data[0].b64_json).size == (512, 512)
    edited = site.http.post(
        "/v1/images/edits", headers={"Authorization": f"Bearer {key}"}, files=[("image[]", ("a.png", png(), "image/png"))],
        data={"model": "gpt-image-1", "prompt": "a house", "quality": "auto", "size": "auto"},
    )  # fmt: skip
    assert opened(edited.json()["data"][0]["b64_json"]).size == (64, 64)


@pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")  # OpenAI's own service has given them up
def test_variations(client: OpenAI) -> None:
    made = client.images.create_variation(image=("a.png", png(size=(96, 64))), n=2)
    assert made.data
    assert len(made.data) == 2
    assert made.size == "96x64"


def test_models(client: OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["other", "plain"]
    assert client.models.retrieve("other").owned_by == "safelight"
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("some/other")
    assert (caught.value.code, caught.value.param, caught.value.type) == (
        "model_not_found",
        "model",
        "invalid_request_error",
    )


def test_the_named_checkpoint_draws(site: Site, client: OpenAI, key: str) -> None:
    for name, drawn in (("other", "other"), ("plain", "plain"), ("gpt-image-2", "plain"), ("dall-e-3", "plain")):
        made = client.images.with_raw_response.generate(prompt=PROMPT, size=SMALL, model=name)
        assert ("x-safelight-notes" in made.headers) == (name not in ("other", "plain"))
        assert site.http.get("/v1/jobs", headers={"key": key}).json()["jobs"][0]["model"] == drawn


@pytest.mark.parametrize(
    ("fields", "param", "code", "said"),
    [
        ({"extra_body": {"colour": "red"}}, "colour", "unknown_parameter", "Unknown parameter: 'colour'."),
        ({"prompt": ""}, "prompt", "missing_required_parameter", "prompt is required"),
        ({"n": 11}, "n", "invalid_value", "n must be between 1 and 10"),
        ({"size": "65x64"}, "size", "invalid_value", "size must be auto or WIDTHxHEIGHT, sides of 64 to 1024, divisible by 8"),
        ({"size": "1536x1024"}, "size", "invalid_value", "size must be auto or WIDTHxHEIGHT, sides of 64 to 1024, divisible by 8"),
        ({"quality": "best"}, "quality", "invalid_value",
         "quality must be one of low, auto, medium, standard, high, hd, xhigh, max"),
        ({"background": "transparent"}, "background", "invalid_value",
         "background must be opaque or auto: pictures made here have no transparent parts"),
        ({"output_format": "svg"}, "output_format", "invalid_value", "output_format must be one of png, jpeg, webp"),
        ({"output_format": "webp", "response_format": "url"}, "response_format", "invalid_value",
         "response_format must be b64_json for webp: addresses lead to PNG files"),
        ({"partial_images": 4, "stream": True}, "partial_images", "invalid_value", "partial_images must be between 0 and 3"),
        ({"frame_count": 4}, "frame_count", "invalid_value", "frame_count is not supported by this server"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(client: OpenAI, fields: Json, param: str, code: str, said: str) -> None:
    given: Any = {"prompt": PROMPT} | fields
    with pytest.raises(openai.BadRequestError) as caught:
        client.images.generate(**given)
    assert (caught.value.param, caught.value.code, caught.value.type) == (param, code, "invalid_request_error")
    assert caught.value.body == {"message": said, "type": "invalid_request_error", "param": param, "code": code}


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "image is required"),
        ({"image": ("a.png", b"no picture")}, "image is not a PNG, JPEG or WebP picture"),
        ({"image": ("a.png", png()), "mask": ("m.png", png())}, "mask has no transparent part"),
    ],
)
def test_wrong_pictures_are_named(site: Site, key: str, files: Json, said: str) -> None:
    before = site.holdings()
    headers = {"Authorization": f"Bearer {key}"}
    reply = site.http.post("/v1/images/edits", data={"prompt": PROMPT}, files=files or {"x": b""}, headers=headers)
    assert (reply.status_code, reply.json()["error"]["message"]) == (400, said)
    assert site.holdings() == before


def test_the_other_errors(site: Site, client: OpenAI) -> None:
    with (
        OpenAI(base_url=client.base_url, api_key="wrong", max_retries=0) as stranger,
        pytest.raises(openai.AuthenticationError) as caught,
    ):
        stranger.images.generate(prompt=PROMPT)
    assert caught.value.code == "invalid_api_key"
    with pytest.raises(openai.InternalServerError) as failed:
        client.with_options(max_retries=2).images.generate(prompt="a mistake", size=SMALL)
    assert (failed.value.code, failed.value.type) == ("image_generation_failed", "image_generation_server_error")
    with pytest.raises(openai.BadRequestError) as blocked:
        client.images.generate(prompt="nude", size=SMALL)
    assert blocked.value.code == "moderation_blocked"
    assert client.images.generate(prompt="nude", size=SMALL, moderation="low").data
    with pytest.raises(openai.APIError, match="could not be made"):
        list(client.images.generate(prompt="a mistake", size=SMALL, stream=True))


def test_what_failed_is_not_made_again_by_itself(site: Site, client: OpenAI, key: str) -> None:
    with pytest.raises(openai.InternalServerError):
        client.with_options(max_retries=2).images.generate(prompt="a mistake", size=SMALL)
    assert len(site.http.get("/v1/jobs", headers={"key": key}).json()["jobs"]) == 1


def test_too_much_waiting_is_429(site: Site, client: OpenAI, key: str) -> None:
    with site.closed_gate():
        for _ in range(site.settings.account_queue):
            site.held_back(key)
        with pytest.raises(openai.RateLimitError) as caught:
            client.images.generate(prompt=PROMPT, size=SMALL)
    assert caught.value.code == "rate_limit_exceeded"
    assert int(caught.value.response.headers["retry-after"]) > 0


def test_paths_of_the_two_dialects_do_not_meet(site: Site, key: str) -> None:
    """TensorsLab's lie under /v1/images too, and each is answered in its own shape."""

    def refused(path: str) -> httpx.Response:
        return site.http.post(path, json={}, headers={"Authorization": f"Bearer {key}"})

    assert refused("/v1/images/infobytaskid").json()["code"] == 9999
    assert refused("/v1/images/generations").json()["error"]["code"] == "missing_required_parameter"
    assert site.http.get("/v1/images/edits").json()["error"]["message"] == "The method is not allowed"


def test_a_request_sent_again_is_not_made_again(client: OpenAI) -> None:
    made = [
        client.images.generate(prompt=PROMPT, size=SMALL, extra_headers={"Idempotency-Key": "one"}) for _ in range(2)
    ]
    assert made[0].data == made[1].data
