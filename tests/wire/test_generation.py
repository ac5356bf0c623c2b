"""Generations over HTTP: every parameter of the img2img page, and each test would fail if its parameter were not read."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from io import BytesIO
from queue import Queue
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from safelight.engine.generation import Pixels
from safelight.records import ImageRequest, Operation
from safelight.service.makers.covers import covered
from safelight.wire.http import told
from tests.engines import decode, encode
from tests.service.pictures import saved, speckled, still

from .site import PHOTO, Json, Site, heard

EXAMPLE: Json = {
    "prompt": "a cat sitting on a bench",
    "negative_prompt": None,
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
DOCUMENTED_META = {
    "H": int,
    "W": int,
    "enable_attention_slicing": str,
    "file_prefix": str,
    "guidance_scale": float,
    "model": str,
    "n_samples": int,
    "negative_prompt": str,
    "outdir": str,
    "prompt": str,
    "revision": str,
    "safety_checker": str,
    "seed": int,
    "steps": int,
    "vae": str,
}


def picture(site: Site, url: str) -> Pixels:
    reply = site.http.get(url)
    assert (reply.status_code, reply.headers["content-type"]) == (200, "image/png")
    return np.asarray(Image.open(BytesIO(reply.content)))


def first(site: Site, key: str, **fields: object) -> Pixels:
    return picture(site, site.made(key, **{"seed": 5, "enhance_prompt": "no"} | fields)["output"][0])


@contextmanager
def served(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """The address of a host on the caller's own network."""
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def serving(data: bytes) -> Iterator[str]:
    """The address of one picture."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class's name
            pass

    with served(Handler) as address:
        yield f"{address}/photo.png"


def test_the_documented_example_gets_the_documented_answer(site: Site, key: str) -> None:
    with serving(still()) as address:
        reply = site.post("v3/img2img", key, init_image=address, **EXAMPLE)
    body = reply.json()
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "application/json"
    assert (body["status"], type(body["generationTime"]), type(body["id"])) == ("success", float, int)
    assert {name: type(body["meta"][name]) for name in DOCUMENTED_META} == DOCUMENTED_META
    assert body["meta"] == {
        "H": 512,
        "W": 512,
        "enable_attention_slicing": "true",
        "file_prefix": body["meta"]["file_prefix"],
        "guidance_scale": 7.5,
        "model": "plain",
        "n_samples": 1,
        "negative_prompt": "",
        "outdir": "out",
        "prompt": "a cat sitting on a bench, sharp focus",
        "revision": "main",
        "safety_checker": "none",
        "safetychecker": "no",
        "seed": body["meta"]["seed"],
        "steps": 21,
        "vae": "plain",
        "strength": 0.7,
        "init_image": address,
        "native_size": [512, 512],
    }
    assert body["output"] == [f"{site.settings.base_url}/generations/{body['meta']['file_prefix']}-0.png"]
    assert picture(site, body["output"][0]).shape == (512, 512, 3)


def test_width_and_height_are_the_size_of_the_picture(site: Site, key: str) -> None:
    body = site.made(key, width="128", height="72")
    assert picture(site, body["output"][0]).shape == (72, 128, 3)
    assert (body["meta"]["W"], body["meta"]["H"]) == (128, 72)


def test_samples_have_consecutive_seeds_and_names(site: Site, key: str) -> None:
    body = site.made(key, samples="3", seed=7)
    prefix = body["meta"]["file_prefix"]
    assert [url.rpartition("/")[2] for url in body["output"]] == [f"{prefix}-{n}.png" for n in range(3)]
    assert body["meta"]["n_samples"] == 3
    np.testing.assert_array_equal(picture(site, body["output"][2]), picture(site, site.made(key, seed=9)["output"][0]))


def test_the_same_seed_is_the_same_bytes_and_another_is_not(site: Site, key: str) -> None:
    one, two, other = (site.http.get(site.made(key, seed=seed)["output"][0]).content for seed in ("5", 5, 6))
    assert one == two
    assert one != other


@pytest.mark.parametrize("nothing", [None, -1, "-1", "", "null"])
def test_no_seed_draws_one_and_says_which(site: Site, key: str, nothing: object) -> None:
    body = site.made(key, seed=nothing)
    seed = body["meta"]["seed"]
    assert 0 <= seed < 2**32
    again = site.made(key, seed=seed)
    np.testing.assert_array_equal(picture(site, body["output"][0]), picture(site, again["output"][0]))
    assert site.made(key, seed=nothing)["meta"]["seed"] != seed


def test_a_seed_of_zero_is_a_seed(site: Site, key: str) -> None:
    assert site.made(key, seed="0")["meta"]["seed"] == 0


@pytest.mark.parametrize(
    "changed",
    [
        {"prompt": "a dog"},
        {"negative_prompt": "blurry"},
        {"num_inference_steps": "8"},
        {"guidance_scale": "9.5"},
        {"strength": 0.9},
        {"scheduler": "EulerDiscrete"},
        {"scheduler": "DPMSolverMultistep", "use_karras_sigmas": "yes"},
        {"scheduler": "DPMSolverMultistep", "algorithm_type": "dpmsolver+++"},
        {"clip_skip": "2"},
        {"lora_model": "ink", "lora_strength": "0.45"},
        {"model_id": "other"},
    ],
)
def test_every_word_and_number_reaches_the_picture(site: Site, key: str, changed: Json) -> None:
    assert not np.array_equal(first(site, key), first(site, key, **changed))


def test_the_picture_leaves_the_init_image_as_strength_grows(site: Site, key: str) -> None:
    init = np.asarray(Image.fromarray(speckled()[:, 8:40]).resize((64, 64))).astype(float)
    distances = [np.abs(first(site, key, strength=s) - init).mean() for s in (0.2, 0.4, 0.6, 0.8)]
    assert distances == sorted(distances)
    assert distances[0] < distances[-1] / 2


@pytest.mark.parametrize("strength", [0.01, "0.001"])
def test_a_strength_of_less_than_a_step_runs_one_step(site: Site, key: str, strength: object) -> None:
    assert site.made(key, strength=strength, num_inference_steps=10)["meta"]["steps"] == 1


def test_an_init_image_may_be_an_address_a_data_uri_base64_or_an_earlier_output(site: Site, key: str) -> None:
    inline = PHOTO.partition(",")[2]
    with serving(still()) as address:
        given = [first(site, key, init_image=source) for source in (PHOTO, inline, address)]
    for other in given[1:]:
        np.testing.assert_array_equal(given[0], other)
    assert first(site, key, init_image=site.made(key)["output"][0]).shape == (64, 64, 3)


def test_enhance_prompt_says_what_was_used(site: Site, key: str) -> None:
    assert site.made(key, enhance_prompt="no")["meta"]["prompt"] == "a cat"
    assert site.made(key, enhance_prompt="yes")["meta"]["prompt"] == "a cat, sharp focus"
    assert site.made(key)["meta"]["prompt"] == "a cat, sharp focus"


def test_a_flagged_picture_is_blank_and_the_reply_says_so(site: Site, key: str) -> None:
    body = site.made(key, prompt="nude", strength=1, safety_checker="yes")
    assert (body["nsfw_content_detected"], body["has_nsfw_concept"]) == (True, [True])
    assert not picture(site, body["output"][0]).any()
    unchecked = site.made(key, prompt="nude", strength=1, safety_checker="no")
    assert unchecked["nsfw_content_detected"] is False
    assert (picture(site, unchecked["output"][0]) == (255, 0, 0)).all()


def test_base64_answers_addresses_of_base64_text(site: Site, key: str) -> None:
    body = site.made(key, base64="yes", seed=3)
    prefix = body["meta"]["file_prefix"]
    assert body["output"] == [f"{site.settings.base_url}/generations/{prefix}-0.base64"]
    text = site.http.get(body["output"][0])
    assert text.headers["content-type"] == "text/plain; charset=us-ascii"
    png = site.http.get(body["output"][0].replace(".base64", ".png")).content
    assert base64.b64decode(text.text, validate=True) == png


def test_temp_pictures_have_their_own_folder(site: Site, key: str) -> None:
    body = site.made(key, temp="yes")
    assert body["output"][0].startswith(f"{site.settings.base_url}/temp/")
    assert picture(site, body["output"][0]).shape == (64, 64, 3)


def test_inpainting_paints_where_the_mask_is_white(site: Site, key: str) -> None:
    mask = np.zeros((64, 64), np.uint8)
    mask[:, 32:] = 255
    source = "data:image/png;base64," + base64.b64encode(saved(Image.fromarray(mask))).decode()
    reply = site.post(
        "v3/inpaint", key, prompt="a cat", init_image=PHOTO, mask_image=source, width=64, height=64, strength=1, seed=1
    ).json()
    init = np.asarray(Image.fromarray(speckled()[:, 8:40]).resize((64, 64)))  # its middle square covers
    made = picture(site, reply["output"][0])
    np.testing.assert_array_equal(made[:, :32], init[:, :32])
    assert not np.array_equal(made[:, 32:], init[:, 32:])
    assert (reply["meta"]["init_image"], reply["meta"]["mask_image"], reply["meta"]["strength"]) == ("", "", 1.0)


def test_text2img_needs_no_picture(site: Site, key: str) -> None:
    body = site.post("v3/text2img", key, prompt="a house", width="64", height="64", num_inference_steps="20").json()
    assert (body["status"], body["meta"]["steps"]) == ("success", 20)
    assert "strength" not in body["meta"]


def test_a_slow_generation_is_answered_with_processing_and_fetched_later(site: Site, key: str) -> None:
    with site.closed_gate():
        body = site.held_back(key, samples=2)
        number, prefix = body["id"], body["meta"]["file_prefix"]
        links = [f"{site.settings.base_url}/generations/{prefix}-{n}.png" for n in range(2)]
        assert (type(body["eta"]), type(number)) == (float, int)
        assert body | {"eta": 0.0, "meta": {}} == {
            "status": "processing",
            "tip": "for faster speed, keep resolution upto 512x512",
            "eta": 0.0,
            "messege": "Try to fetch request after given estimated time",
            "webhook_status": "",
            "fetch_result": f"{site.settings.base_url}/api/v3/fetch/{number}",
            "id": number,
            "output": [],
            "meta": {},
            "future_links": links,
        }
        assert set(DOCUMENTED_META) <= set(body["meta"])
        waiting = httpx.post(body["fetch_result"], json={"key": key})
        assert waiting.status_code == 200
        assert waiting.json() | {"tip": ""} == {
            "status": "processing",
            "message": "try again later.",
            "output": "",
            "tip": "",
        }
        assert site.http.get(links[0]).status_code == 404
    account = site.ask(site.services.accounts.authenticate(key))
    site.ask(site.services.jobs.wait(account, number, 10))
    done = httpx.post(body["fetch_result"], json={"key": key}).json()
    assert (done["status"], done["id"], done["output"]) == ("success", number, links)
    assert site.http.get(links[0]).status_code == 200


def test_a_generation_that_the_engine_refuses_is_told_as_failed(site: Site, key: str) -> None:
    body = site.img2img(key, prompt="a mistake of the engine").json()
    assert body == {
        "status": "failed",
        "id": body["id"],
        "message": "The picture could not be made.",
        "messege": "The picture could not be made.",
        "output": "",
    }
    assert site.post(f"v3/fetch/{body['id']}", key).json() == body


@contextmanager
def listening() -> Iterator[tuple[str, Queue[Json]]]:
    """An address for webhooks, and the bodies that come in there."""
    heard: Queue[Json] = Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            heard.put({"body": body, "signed": self.headers["webhook-signature"]})
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class's name
            pass

    with served(Handler) as address:
        yield f"{address}/hook", heard


@pytest.mark.parametrize("track_id", ["order 7", 7, "", 1.5])
def test_a_webhook_is_called_with_the_track_id_when_the_pictures_are_there(
    site: Site, key: str, track_id: object
) -> None:
    with listening() as (address, heard):
        made = site.made(key, webhook=address, track_id=track_id)
        call = heard.get(timeout=60)
    assert call["signed"]
    assert {name: call["body"][name] for name in ("status", "id", "output", "track_id")} == {
        "status": "success",
        "id": made["id"],
        "output": made["output"],
        "track_id": track_id,
    }


def test_a_webhook_is_called_when_there_will_be_no_pictures(site: Site, key: str) -> None:
    with listening() as (address, heard):
        body = site.img2img(key, prompt="a mistake", webhook=address, track_id="order 8").json()
        call = heard.get(timeout=60)
    assert call["body"] == {
        "status": "failed",
        "id": body["id"],
        "message": "Processing failed: The picture could not be made.",
        "track_id": "order 8",
    }


@pytest.mark.parametrize("webhook", ["https://example.com:22/", "http://user:word@example.com/"])
def test_a_webhook_at_an_address_that_is_never_called_is_refused(site: Site, key: str, webhook: str) -> None:
    before = site.holdings()
    reply = site.img2img(key, webhook=webhook)
    assert reply.status_code == 400
    assert reply.json()["message"].startswith("webhook ")
    assert site.holdings() == before


def test_system_load_counts_what_waits(site: Site, key: str) -> None:
    site.holdings()
    assert site.post("v3/system_load", key).json() == {"queue_num": 0, "queue_time": 0, "status": "ok"}
    with site.closed_gate():
        held = [site.held_back(key) for _ in range(3)]
        load = site.post("v3/system_load", key).json()
        assert (type(load["queue_num"]), type(load["queue_time"]), load["status"]) == (int, int, "ok")
    account = site.ask(site.services.accounts.authenticate(key))
    for each in held:
        site.ask(site.services.jobs.wait(account, each["id"], 10))


def test_two_passes_are_told_and_run_where_they_can_be(site: Site, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    told = heard(site, monkeypatch)
    plain = {"enhance_prompt": "no", "width": 64, "height": 64, "prompt": "a cat"}
    body = site.post("v6/images/text2img", key, **plain, upscale=3).json()
    assert (body["meta"]["W"], body["meta"]["upscale"], body["meta"]["highres_fix"]) == (192, "yes", "no")
    assert picture(site, body["output"][0]).shape == (192, 192, 3)
    assert [(each.width, each.modest, each.init_image is None) for each in told] == [
        (64, False, True),
        (192, False, False),
    ]
    told.clear()
    site.post("v6/images/text2img", key, **plain, highres_fix="yes")
    assert [(each.width, each.modest) for each in told] == [(64, True)]  # it draws no larger anyway
    wide = site.post("v6/images/text2img", key, **plain | {"width": 1024}, upscale="yes")
    assert wide.headers["X-Safelight-Notes"] == "upscale was left out: no side may be longer than 1024 pixels."
    masked = site.post("v3/inpaint", key, **plain, init_image=PHOTO, mask_image=PHOTO, upscale="yes")
    assert masked.headers["X-Safelight-Notes"].endswith("it is made in one pass.")
    refused = site.post("v3/text2img", key, **plain, upscale="a lot").json()
    assert refused["message"] == "upscale must be yes, no, 1, 2 or 3"


def test_notes_and_fields_without_effect_come_in_headers(site: Site, key: str) -> None:
    reply = site.img2img(
        key, scheduler="KarrasVeScheduler", steps=99, num_inference_steps="", tomesd="yes", upscale="no"
    )
    assert reply.json()["status"] == "success"
    said = "steps was cut from 99 to 51. scheduler KarrasVe is not offered here; HeunDiscrete was used."
    fetched = site.post("v3/fetch", key, request_id=reply.json()["id"])
    for each in (reply, fetched):
        assert (each.headers["x-safelight-notes"], each.headers["x-safelight-ignored"]) == (said, "tomesd")
    plain = site.img2img(key)
    assert not {"x-safelight-notes", "x-safelight-ignored"} & set(plain.headers)


def test_no_note_breaks_a_header() -> None:
    request = ImageRequest(operation=Operation.text2img, prompt="", notes=("a\r\nSet-Cookie: b", "é\x00", "x" * 10_000))
    found = told(request)
    assert list(found) == ["X-Safelight-Notes"]
    assert found["X-Safelight-Notes"].startswith("a  Set-Cookie: b \\xe9  xxx")
    assert len(found["X-Safelight-Notes"]) == 2_000


def test_no_strength_gives_the_init_image_back(site: Site, key: str) -> None:
    data = speckled(64, 64)
    uri = "data:image/png;base64," + base64.b64encode(encode(data)).decode()
    made = site.made(key, init_image=uri, strength=0, samples=2)
    for address in made["output"]:
        assert np.array_equal(decode(site.http.get(address).content), data)


def test_an_init_image_in_a_list_of_one(site: Site, key: str) -> None:
    assert site.made(key, init_image=[PHOTO])["meta"]["init_image"] == ""


def test_what_is_not_safe_is_covered_as_asked_and_cannot_be_made_out(site: Site, key: str) -> None:
    """The painter's red stays red however coarse it is made; black and the label hold none of it."""
    for cover, red in (("black", 0), ("blur", 255), ("pixelate", 255), ("sensitive_content_text", 0)):
        body = site.post(
            "v6/images/text2img", key, prompt="nude", safety_checker_type=cover, width=128, height=64, seed=1
        ).json()
        assert (body["nsfw_content_detected"], body["meta"]["safety_checker_type"]) == (True, cover)
        assert decode(site.http.get(body["output"][0]).content)[0, 0].tolist() == [red, 0, 0], cover


@pytest.mark.parametrize("cover", ["blur", "pixelate"])
def test_of_a_coarse_picture_hardly_anything_is_left(cover: str) -> None:
    """Noise of 256 x 256 has a deviation of 74; what is left of it in each cell of the grid is its mean."""
    pixels = covered(speckled(256, 256), cover)
    assert pixels.shape == (256, 256, 3)
    assert pixels.std() < 8


def test_the_label_is_written_on_black() -> None:
    pixels = covered(speckled(256, 64), "sensitive_content_text")
    assert 0 < (pixels > 0).mean() < 0.2
    assert set(np.unique(pixels)) <= set(range(161))


def test_while_it_is_made_meta_names_the_checkpoint(site: Site, key: str) -> None:
    with site.closed_gate():
        meta = site.held_back(key)["meta"]
        site.post("v5/clear_cache", key)
    assert (meta["model"], meta["vae"]) == ("plain", "plain")
