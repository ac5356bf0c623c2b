"""Bad input: each case gets a sentence that names the field and the rule, in the dialect's shape, and leaves nothing behind."""

from __future__ import annotations

import base64
import json
import re
import socket
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from PIL import Image

from safelight.errors import Invalid
from safelight.settings import read_settings
from safelight.wire.forms import _urlencoded
from safelight.wire.modelslab.write import write_error
from tests.service.pictures import animated, one_bit_bomb, saved, speckled, still

from .site import PHOTO, Json, Site

LEAK = re.compile(r"0x[0-9a-f]{6,}|/home|/work|/tmp|/usr|Traceback|site-packages|\.py\b")


def uri(data: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(data).decode()


def refused(reply: httpx.Response, status: int, said: str) -> None:
    assert (reply.status_code, reply.json()) == (status, {"status": "error", "message": said, "messege": said})


def good(key: str, **fields: object) -> Json:
    return {"key": key, "prompt": "a cat", "init_image": PHOTO, "width": 64, "height": 64} | fields


FIELDS = [
    ({"prompt": None}, "prompt is required"),
    ({"prompt": "  "}, "prompt is required"),
    ({"prompt": 7}, "prompt must be a string"),
    ({"prompt": ["a"]}, "prompt must be a string"),
    ({"prompt": "x" * 10_001}, "prompt must have at most 10,000 characters"),
    ({"negative_prompt": "x" * 10_001}, "negative_prompt must have at most 10,000 characters"),
    ({"prompt": "a\0b"}, "prompt must not contain NUL characters"),
    ({"init_image": None}, "init_image is required"),
    ({"init_image": ""}, "init_image is required"),
    ({"init_image": "None"}, "init_image is required"),
    ({"init_image": []}, "init_image must be one picture, not 0; only img_mixer and qwen_edit take several"),
    (
        {"init_image": [PHOTO, PHOTO]},
        "init_image must be one picture, not 2; only img_mixer and qwen_edit take several",
    ),
    ({"init_image": [5]}, "init_image must be a string"),
    (
        {"safety_checker_type": "flowers"},
        "safety_checker_type must be one of black, blur, pixelate, sensitive_content_text",
    ),
    ({"init_image": 5}, "init_image must be a string"),
    ({"width": 0}, "width must be between 64 and 1024"),
    ({"width": -8}, "width must be between 64 and 1024"),
    ({"width": "513"}, "width must be divisible by 8"),
    ({"height": 10**9}, "height must be between 64 and 1024"),
    ({"height": 2**63}, "height must be between 64 and 1024"),
    ({"width": 512.5}, "width must be a whole number"),
    ({"width": True}, "width must be a number"),
    ({"width": "wide"}, "width must be a number"),
    ({"width": "9" * 5_000}, "width must be a number"),
    ({"width": [512]}, "width must be a number"),
    ({"samples": 0}, "samples must be between 1 and 4"),
    ({"samples": "5"}, "samples must be between 1 and 4"),
    ({"num_inference_steps": 0}, "num_inference_steps must be at least 1"),
    ({"strength": -1}, "strength must be between 0 and 1"),
    ({"strength": 1.1}, "strength must be between 0 and 1"),
    ({"strength": 1.0000001}, "strength must be between 0 and 1"),
    ({"strength": "NaN"}, "strength must be a number"),
    ({"guidance_scale": 0.5}, "guidance_scale must be between 1 and 20"),
    ({"seed": 1.5}, "seed must be a whole number"),
    (
        {"algorithm_type": "magic"},
        "algorithm_type must be one of dpmsolver, dpmsolver++, sde-dpmsolver, sde-dpmsolver++",
    ),
    ({"guidance_scale": "1e400"}, "guidance_scale must be a finite number"),
    ({"safety_checker": "maybe"}, "safety_checker must be yes or no"),
    ({"base64": 2}, "base64 must be yes or no"),
    ({"enhance_prompt": []}, "enhance_prompt must be yes or no"),
    ({"webhook": "ftp://example.com/"}, "webhook must be an http or https address"),
    ({"webhook": "http://"}, "webhook must be an http or https address"),
    ({"webhook": "http://[::1"}, "webhook must be an http or https address"),
    ({"track_id": {"a": 1}}, "track_id must be a string or a number"),
    ({"track_id": "x" * 1_001}, "track_id must have at most 1,000 characters"),
    ({"model_id": 5}, "model_id must be a string"),
    ({"lora_model": "unknown"}, "lora_model must name LoRAs of this server, separated by commas: ink, wash"),
    (
        {"lora_model": "ink,wash", "lora_strength": "1,2,1"},
        "lora_strength must be one number, or as many as lora_model has names",
    ),
    (
        {"embeddings_model": "unknown, no"},
        "embeddings_model must name embeddings of this server, separated by commas: there are none",
    ),
    ({"vae_model": "unknown"}, "vae_model must name an autoencoder of this server: soft"),
    ({"clip_skip": 9}, "clip_skip must be between 1 and 8"),
]


@pytest.mark.parametrize(("fields", "said"), FIELDS)
def test_a_field_that_breaks_a_rule_is_named_with_it(site: Site, key: str, fields: Json, said: str) -> None:
    before = site.holdings()
    refused(site.http.post("/api/v3/img2img", json=good(key, **fields)), 400, said)
    assert site.holdings() == before


def test_an_unknown_scheduler_is_answered_with_the_names(site: Site, key: str) -> None:
    reply = site.img2img(key, scheduler="Magic")
    assert reply.status_code == 400
    assert reply.json()["message"].startswith("scheduler must be one of DEISMultistep, DPMSolverMultistep,")


PICTURES = {
    "unreachable": ("http://127.0.0.1:9/photo.png", "init_image"),
    "private": ("http://10.0.0.1/photo.png", "init_image"),
    "metadata service": ("http://169.254.169.254/latest/meta-data", "init_image"),
    "file": ("file:///etc/passwd", "init_image"),
    "oversized": (uri(saved(Image.fromarray(speckled(430, 430)), "PNG")), "init_image"),
    "truncated": (uri(still()[:200]), "init_image"),
    "not an image": (uri(b"hello, world"), "init_image"),
    "not base64": ("!!!", "init_image"),
    "1x1": (uri(saved(Image.new("RGB", (1, 1)))), "init_image"),
    "20,000x20,000": (uri(one_bit_bomb()), "init_image"),
    "animated": (uri(animated("PNG")), "init_image"),
}


@pytest.mark.parametrize("kind", PICTURES)
def test_a_picture_that_cannot_be_used_is_named(site: Site, key: str, kind: str) -> None:
    source, field = PICTURES[kind]
    before = site.holdings()
    reply = site.http.post("/api/v3/img2img", json=good(key, init_image=source))
    said = reply.json()["message"]
    refused(reply, 400, said)
    assert said.startswith(f"{field} "), said
    assert len(said) > len(field) + 5
    assert not LEAK.search(said), said
    assert site.holdings() == before


@pytest.mark.parametrize("kind", ["CMYK JPEG", "16-bit PNG", "greyscale", "rotated JPEG"])
def test_pictures_of_every_honest_kind_are_taken(site: Site, key: str, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = {
        "CMYK JPEG": saved(Image.new("CMYK", (64, 64)), "JPEG"),
        "16-bit PNG": saved(Image.new("I;16", (64, 64))),
        "greyscale": saved(Image.new("L", (64, 64))),
        "rotated JPEG": saved(Image.new("RGB", (64, 32)), "JPEG", exif=exif),
    }[kind]
    assert site.made(key, init_image=uri(data))["status"] == "success"


KEYS: dict[str, tuple[Json, str]] = {
    "missing": ({}, "API key required"),
    "empty": ({"key": ""}, "API key required"),
    "null": ({"key": None}, "API key required"),
    "wrong": ({"key": "wrong"}, "Invalid API key"),
    "a number": ({"key": 12}, "Invalid API key"),
    "a list": ({"key": ["a"]}, "Invalid API key"),
    "long": ({"key": "slk_" + "a" * 100_000}, "Invalid API key"),
    "not ASCII": ({"key": "slk_\u00e9"}, "Invalid API key"),
}


@pytest.mark.parametrize("kind", KEYS)
def test_without_a_good_key_nothing_is_looked_at(site: Site, kind: str) -> None:
    given, said = KEYS[kind]
    before = site.holdings()
    reply = site.http.post("/api/v3/img2img", json={"width": -8, **given})
    assert reply.status_code == 401
    assert reply.json() == {
        "status": "error",
        "message": said,
        "messege": said,
        "tip": "Pass Content-Type: application/json and a valid API key in the field key of the body.",
    }
    assert site.holdings() == before


def body(key: str, rest: str) -> bytes:
    return f'{{"key": "{key}", "prompt": "a cat", {rest}}}'.encode()


FINITE = "must be a finite number of at most 64 digits"
BODIES: dict[str, tuple[Callable[[str], bytes], str]] = {
    "NaN": (lambda key: body(key, '"strength": NaN'), f"strength {FINITE}"),
    "-Infinity": (lambda key: body(key, '"guidance_scale": -Infinity'), f"guidance_scale {FINITE}"),
    "1e400": (lambda key: body(key, '"strength": 1e400'), f"strength {FINITE}"),
    "5,000 digits": (lambda key: body(key, f'"width": {"9" * 5_000}'), f"width {FINITE}"),
    "lone surrogate": (
        lambda key: body(key, '"negative_prompt": "\\ud800"'),
        "negative_prompt must be valid Unicode, without lone surrogates",
    ),
    "lone surrogate in a name": (lambda key: body(key, '"\\ud800": "\\ud800"'), "body must be valid Unicode, without lone surrogates"),
    "NUL": (lambda key: body(key, '"negative_prompt": "\\u0000"'), "negative_prompt must not contain NUL characters"),
    "malformed": (lambda key: body(key, "oops"), "body is not valid JSON at line 1, column "),
    "truncated": (lambda key: body(key, '"width": 64')[:-2], "body is not valid JSON at line 1, column "),
    "nested lists": (lambda key: body(key, f'"a": {"[" * 100_000}'), "body is nested too deeply"),
    "nested objects": (lambda key: b'{"a":' * 100_000, "body is nested too deeply"),
    "a list": (lambda key: b"[1, 2]", "body must be a JSON object"),
    "UTF-16": (lambda key: body(key, '"width": 64').decode().encode("utf-16-be"), "body is not valid JSON"),
    "Latin-1": (lambda key: body(key, '"negative_prompt": "\xe9"').decode().encode("latin-1"), "body must be UTF-8"),
    "many parts": (lambda key: b'{"a":[' + b"1," * 250_000 + b"1]}", "body must have at most 200,000 parts"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BODIES)
def test_a_body_that_is_no_json_is_said_to_be_none(site: Site, key: str, kind: str) -> None:
    make, said = BODIES[kind]
    before = site.holdings()
    reply = site.http.post("/api/v3/img2img", content=make(key), headers={"Content-Type": "application/json"})
    found = reply.json()["message"]
    refused(reply, 400, found)
    assert found.startswith(said), found
    assert site.holdings() == before


@pytest.mark.parametrize("name", ["\\ud800", "a\\u0000"])
def test_a_name_that_cannot_be_written_is_refused_where_names_are_given_back_too(
    site: Site, key: str, name: str
) -> None:
    said = f'{{"prompt": "a cat", "steps": 1, "{name}": 1}}'
    reply = site.http.post("/sdapi/v1/txt2img", content=said, headers={"Authorization": f"Bearer {key}"})
    assert (reply.status_code, "body must" in reply.text) == (422, True), reply.text


def test_a_million_characters_of_prompt_are_too_many(site: Site, key: str) -> None:
    reply = site.http.post("/api/v3/img2img", json=good(key, prompt="x" * 10**6))
    refused(reply, 400, "prompt must have at most 10,000 characters")


def test_a_body_over_the_limit_is_refused_by_its_announcement_and_by_its_bytes(site: Site, key: str) -> None:
    limit = site.settings.max_body_bytes
    said = f"body must have at most {limit:,} bytes"
    refused(site.http.post("/api/v3/img2img", content=bytes(limit + 1)), 413, said)
    chunked = site.http.post("/api/v3/img2img", content=(bytes(2**16) for _ in range(2 + limit // 2**16)))
    refused(chunked, 413, said)


def test_a_compressed_body_is_refused_unread(site: Site) -> None:
    reply = site.http.post("/api/v3/img2img", content=b"\x1f\x8b", headers={"Content-Encoding": "gzip"})
    refused(reply, 400, "Content-Encoding is not supported; send the body as it is")


@pytest.mark.parametrize("kind", ["image/png", "application/xml", "application/octet-stream"])
def test_a_content_type_that_says_nothing_known_is_named(site: Site, kind: str) -> None:
    reply = site.http.post("/api/v3/img2img", content=b"<prompt>", headers={"Content-Type": kind})
    said = "Content-Type must be application/json, application/x-www-form-urlencoded or multipart/form-data"
    refused(reply, 400, said)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/xml", "", "nonsense"])
def test_json_is_understood_under_any_content_type(site: Site, key: str, kind: str) -> None:
    content = json.dumps({"key": key}).encode()
    reply = site.http.post("/api/v3/system_load", content=content, headers={"Content-Type": kind} if kind else {})
    assert reply.json()["status"] == "ok"


@pytest.mark.parametrize(
    "content", [b"", b"--x", b"--x\r\n\r\n", b'--x\r\nContent-Disposition: form-data; name="key"\r\n\r\nab', b"junk"]
)
def test_broken_multipart_is_refused(site: Site, content: bytes) -> None:
    reply = site.http.post(
        "/api/v3/system_load", content=content, headers={"Content-Type": "multipart/form-data; boundary=x"}
    )
    assert reply.status_code in (400, 401)
    assert reply.json()["status"] == "error"


def test_a_form_of_nothing_but_escapes_is_refused_unparsed() -> None:
    with pytest.raises(Invalid, match="body must have at most 1,000,000 escaped characters"):
        _urlencoded(b"%41" * 1_000_001, "body")


def test_of_a_name_given_twice_the_last_wins(site: Site, key: str) -> None:
    """As with the hosted services, whose own load_model example repeats names."""
    twice = b'{"key": "wrong", "key": "KEY"}'.replace(b"KEY", key.encode())
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    for reply in (
        site.http.post("/api/v3/system_load", content=twice),
        site.http.post("/api/v3/system_load", content=f"key=wrong&key={key}", headers=form),
        site.http.post(f"/api/v3/system_load?key=wrong&key={key}"),
    ):
        assert reply.json()["status"] == "ok"
    reply = site.http.post("/v1/images/infobytaskid", content=twice[:-1] + b', "taskid": "a", "taskid": ""}')
    assert reply.json() == {"code": 9999, "msg": "taskid is required"}


def test_parts_that_a_browser_leaves_empty_mean_nothing(site: Site, key: str) -> None:
    fields = good(key, num_inference_steps="2", seed="", webhook="")
    parts = {name: (None, str(value)) for name, value in fields.items()}
    reply = site.http.post("/api/v3/img2img", files={**parts, "mask_image": ("", b""), "scheduler": (None, "")})
    assert (reply.status_code, reply.json()["status"]) == (200, "success"), reply.text


def test_files_are_not_taken(site: Site, key: str) -> None:
    reply = site.http.post("/api/v3/img2img", data={"key": key}, files={"init_image": ("a.png", still())})
    rule = "must be whole multipart/form-data without files; give pictures by address, data URI or base64"
    refused(reply, 400, f"body {rule}")


def test_a_body_that_dawdles_is_cut_off(site: Site) -> None:
    with socket.create_connection(("127.0.0.1", site.settings.port)) as caller:
        caller.sendall(b"POST /api/v3/img2img HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{")
        caller.settimeout(60)
        answered = b""
        while part := caller.recv(4096):
            answered += part
    assert answered.startswith(b"HTTP/1.1 408")
    assert b"body must arrive within 2 seconds" in answered


@pytest.mark.parametrize("raw", ["0", "-1", "9223372036854775808", "2398 OR 1=1", "1.5", "true", "", "[1]"])
def test_an_id_that_is_none_is_refused_and_never_a_fault(site: Site, key: str, raw: str) -> None:
    for reply in (
        site.post("v3/delete_image", key, request_id=raw),
        site.post("v3/fetch", key, request_id=raw),
        site.http.post(f"/api/v3/fetch/{raw or '%20'}", json={"key": key}),
    ):
        assert reply.status_code in (400, 404)
        assert reply.json()["status"] == "error"


@pytest.mark.parametrize("given", [True, [1], {"a": 1}, 1e300, 0, -1, 2**63])
def test_an_id_of_another_type_is_refused(site: Site, key: str, given: Any) -> None:
    for path in ("v3/delete_image", "v3/fetch"):
        reply = site.post(path, key, request_id=given)
        assert reply.status_code == 400
        assert reply.json()["message"].startswith("request_id must be ")


def test_errors_can_be_answered_with_200_where_the_operator_says_so() -> None:
    insisting = read_settings(errors_ok=True)
    statuses = [
        write_error(Invalid("prompt", "is required"), f"/api/{path}", insisting).status_code
        for path in ("v3/img2img", "v4/dreambooth", "v5/clear_cache", "v6/images/img2img", "v1/enterprise/fetch")
    ]
    assert statuses == [200, 200, 200, 400, 400]


@pytest.mark.parametrize("path", ["/api/v3/nothing", "/api/", "/api/v9/img2img"])
def test_an_unknown_endpoint_is_answered_in_the_dialect(site: Site, path: str) -> None:
    refused(site.http.post(path), 404, "No such endpoint")


def test_a_method_that_is_not_offered_is_answered_in_the_dialect(site: Site) -> None:
    reply = site.http.get("/api/v3/img2img")
    refused(reply, 405, "The method is not allowed")
    assert reply.headers["allow"] == "POST"
    assert site.http.put("/api/v5/clear_cache").headers["allow"] == "GET, POST"
    assert site.http.delete("/generations/x.png").headers["allow"] == "GET, HEAD"
    assert site.http.get("/v1/images/infobytaskid").json() == {"code": 9999, "msg": "The method is not allowed"}
    assert site.http.post("/nothing").json() == {"status": "error", "message": "No such endpoint"}
