"""The documented img2img call against the whole server: every field of its reply, and every parameter doing what the page says."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.whole.running import Json, Running, eventually, serving
from tests.whole.website import Website

EXAMPLE = {  # the page's own, as it stands there
    "key": "",
    "prompt": "a cat sitting on a bench",
    "negative_prompt": None,
    "init_image": "https://raw.githubusercontent.com/CompVis/stable-diffusion/main/data/inpainting_examples/overture-creations-5sI6fQgYIuo.png",
    "width": "512",
    "height": "512",
    "samples": "1",
    "num_inference_steps": "30",
    "safety_checker": "no",
    "enhance_prompt": "yes",
    "guidance_scale": 7.5,
    "strength": 0.7,
    "seed": None,
    "base64": "no",
    "webhook": None,
    "track_id": None,
}
META = {  # of the documented reply
    "H": int, "W": int, "enable_attention_slicing": str, "file_prefix": str, "guidance_scale": float, "model": str,
    "n_samples": int, "negative_prompt": str, "outdir": str, "prompt": str, "revision": str, "safety_checker": str,
    "seed": int, "steps": int, "vae": str,
}  # fmt: skip


def pixels(png: bytes) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), np.float64)


class Artist:
    """Draws from the site's photo, with whatever a test changes of a fixed request."""

    def __init__(self, server: Running, site: Website) -> None:
        self.server, self.site = server, site

    def reply(self, **changed: Any) -> Json:
        usual = {"init_image": f"{self.site.url}/photo.png", "strength": 0.7, "num_inference_steps": 8}
        return self.server.draw("img2img", **usual | changed)

    def draw(self, **changed: Any) -> bytes:
        return self.server.picture(self.reply(**changed))


@pytest.fixture
def artist(server: Running, site: Website) -> Artist:
    return Artist(server, site)


def test_the_example_answers_with_every_documented_field(server: Running, site: Website) -> None:
    body = EXAMPLE | {"key": server.key, "init_image": f"{site.url}/photo.png"}
    reply = server.ended(httpx.post(f"{server.url}/api/v3/img2img", json=body, timeout=90).json())
    assert reply["status"] == "success"
    assert {name: type(value) for name, value in reply["meta"].items() if name in META} == META
    assert type(reply["generationTime"]) is float
    assert type(reply["id"]) is int
    assert [type(url) for url in reply["output"]] == [str]
    picture = httpx.get(reply["output"][0])
    assert picture.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(picture.content)).size == (512, 512)


def test_a_wrong_key_is_refused(artist: Artist) -> None:
    refused = artist.server.answer("v3/img2img", key="slk_wrong", prompt="a cat", init_image=artist.site.url)
    assert (refused.status_code, refused.json()["message"]) == (401, "Invalid API key")


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "a red dog"},
        {"negative_prompt": "a red dog"},
        {"guidance_scale": "1.5"},
        {"num_inference_steps": "9"},
        {"strength": "0.9"},
        {"seed": "2"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_it_changes_the_picture(artist: Artist, change: dict[str, str]) -> None:
    assert artist.draw() != artist.draw(**change)


def test_the_init_image_changes_the_picture(artist: Artist) -> None:
    before = artist.draw()
    file = io.BytesIO()
    Image.new("RGB", (64, 64), "green").save(file, "PNG")
    assert artist.draw(init_image=base64.b64encode(file.getvalue()).decode()) != before


def test_the_same_seed_gives_the_same_bytes_and_a_random_one_is_told(artist: Artist) -> None:
    assert artist.draw(seed=77) == artist.draw(seed="77")
    free = artist.reply(seed=None)
    assert free["meta"]["seed"] != artist.reply(seed=-1)["meta"]["seed"]
    assert artist.draw(seed=free["meta"]["seed"]) == artist.server.picture(free)


def test_samples_are_as_many_pictures_each_of_its_own_seed(artist: Artist) -> None:
    reply = artist.reply(samples="3", seed=10)
    assert reply["meta"]["n_samples"] == len(reply["output"]) == 3
    assert [artist.server.picture(reply, n) for n in range(3)] == [artist.draw(seed=10 + n) for n in range(3)]


def test_size_and_steps_are_what_was_asked(artist: Artist) -> None:
    reply = artist.reply(width="128", height="64", num_inference_steps="10", strength=1.0)
    assert (reply["meta"]["W"], reply["meta"]["H"], reply["meta"]["steps"]) == (128, 64, 10)
    assert Image.open(io.BytesIO(artist.server.picture(reply))).size == (128, 64)


def test_strength_destroys_the_init_image_step_by_step(artist: Artist) -> None:
    """Measured from what the random model's autoencoder makes of the init image, which is far from it."""
    for seed in (1, 2, 3):
        first = pixels(artist.draw(strength=0.01, seed=seed, num_inference_steps=50))
        apart = [
            np.abs(pixels(artist.draw(strength=strength, seed=seed, num_inference_steps=10)) - first).mean()
            for strength in (0.2, 0.4, 0.6, 0.8)
        ]
        assert apart == sorted(apart), f"seed {seed}: {apart}"


def test_base64_serves_the_same_picture_as_text(artist: Artist) -> None:
    reply = artist.reply(base64="yes")
    assert reply["output"][0].endswith(".base64")
    text = artist.server.picture(reply)
    assert base64.b64decode(text, validate=True) == artist.draw(base64="no")


def test_an_unsafe_picture_becomes_a_blank_one_and_the_reply_says_so(artist: Artist) -> None:
    reply = artist.reply(safety_checker="yes", samples=2)
    assert (reply["nsfw_content_detected"], reply["has_nsfw_concept"]) == (True, [True, True])
    assert not pixels(artist.server.picture(reply, 0)).any()
    assert not pixels(artist.server.picture(reply, 1)).any()
    unchecked = artist.reply(safety_checker="no")
    assert unchecked["nsfw_content_detected"] is False
    assert pixels(artist.server.picture(unchecked)).any()


def test_an_enhanced_prompt_is_told_and_drawn(artist: Artist) -> None:
    plain, enhanced = (artist.reply(enhance_prompt=word, prompt="a cat") for word in ("no", "yes"))
    assert plain["meta"]["prompt"] == "a cat"
    assert enhanced["meta"]["prompt"].startswith("a cat")
    assert len(enhanced["meta"]["prompt"]) > len("a cat")
    assert artist.server.picture(plain) != artist.server.picture(enhanced)
    assert artist.draw(enhance_prompt="no", prompt=enhanced["meta"]["prompt"]) == artist.server.picture(enhanced)


def test_the_webhook_is_called_with_the_track_id(artist: Artist) -> None:
    reply = artist.reply(webhook=f"{artist.site.url}/hook", track_id="order-7")
    path, headers, body = eventually(lambda: artist.site.posted, 60, "a webhook")[0]
    assert path == "/hook"
    assert {"webhook-id", "webhook-timestamp", "webhook-signature"} <= headers.keys()
    told = json.loads(body)
    assert (told["status"], told["track_id"], told["id"]) == ("success", "order-7", reply["id"])
    assert told["output"] == reply["output"]


@pytest.mark.slow
def test_strength_and_negative_prompt_of_the_bundled_model(data: Any, site: Website) -> None:
    with serving(data, SAFELIGHT_PRIVATE_HOSTS='["127.0.0.1"]') as server:
        server.wait_ready()
        artist = Artist(server, site)
        init = pixels(site.picture)
        usual: Json = {"width": 128, "height": 128, "num_inference_steps": 20, "prompt": "a red apple"}
        for seed in (1, 2, 3, 4):
            apart = [
                np.abs(pixels(artist.draw(**usual, strength=strength, seed=seed)) - init).mean()
                for strength in (0.2, 0.4, 0.6, 0.8)
            ]
            assert apart == sorted(apart), f"seed {seed}: {apart}"
        assert artist.draw(**usual, negative_prompt="red") != artist.draw(**usual)
