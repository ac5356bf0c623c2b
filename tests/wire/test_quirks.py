"""What real clients of the Stable Diffusion API rely on, reproduced byte by byte (the numbers are those of the contract's table)."""

from __future__ import annotations

import base64
import json
import re
import socket
import time
import urllib.parse

import pytest

from .site import PHOTO, Json, Site

SMALL: Json = {"prompt": "a cat", "init_image": PHOTO, "width": "64", "height": "64", "num_inference_steps": "3"}


def raw(site: Site, request: str, body: bytes = b"") -> tuple[int, Json]:
    """One request as it goes over the wire, and the status and JSON that come back."""
    with socket.create_connection(("127.0.0.1", site.settings.port), timeout=20) as caller:
        head = request.replace("\n", "\r\n").replace("HOST", f"127.0.0.1:{site.settings.port}")
        caller.sendall(head.encode() + b"Connection: close\r\n\r\n" + body)
        answered = b""
        while part := caller.recv(65536):
            answered += part
    head_part, _, rest = answered.partition(b"\r\n\r\n")
    found: Json = json.loads(rest)
    return int(head_part.split()[1]), found


def test_1_everything_in_the_query_and_the_key_in_a_header(site: Site, key: str) -> None:
    query = urllib.parse.urlencode(SMALL | {"seed": "", "webhook": ""})
    status, body = raw(site, f"POST /api/v3/img2img?{query} HTTP/1.1\nHost: HOST\nkey: {key}\nContent-Length: 0\n")
    assert (status, body["status"]) == (200, "success")


def test_2_and_3_the_key_of_the_body_wins(site: Site, key: str) -> None:
    for headers in (
        {"key": key},
        {"key": "of-another-service"},
        {"Authorization": f"Bearer {key}"},
        {"Authorization": "Bearer sk-of-another-service"},
        {"Authorization": "Basic dXNlcjpwYXNz"},
    ):
        assert site.http.post("/api/v3/system_load", json={"key": key}, headers=headers).status_code == 200
    assert site.http.post("/api/v3/system_load", json={"key": "bad"}, headers={"key": key}).status_code == 401


@pytest.mark.parametrize(
    "place", ["header", "other header", "bearer", "bare", "query", "header beside a foreign Authorization"]
)
def test_3_the_key_may_stand_elsewhere(site: Site, key: str, place: str) -> None:
    headers = {
        "header": {"key": key},
        "other header": {"x-api-key": key},
        "bearer": {"Authorization": f"bearer {key}"},
        "bare": {"Authorization": key},
        "query": {},
        "header beside a foreign Authorization": {"key": key, "Authorization": "Bearer sk-of-another-service"},
    }[place]
    params = {"key": key} if place == "query" else {}
    assert site.http.post("/api/v3/system_load", headers=headers, params=params).json()["status"] == "ok"


def test_4_a_form_whose_nulls_are_empty_strings(site: Site, key: str) -> None:
    form = urllib.parse.urlencode(
        SMALL | {"key": key, "seed": "", "webhook": "", "track_id": "", "negative_prompt": ""}
    )
    head = f"POST /api/v3/img2img HTTP/1.1\nHost: HOST\nContent-Type: application/x-www-form-urlencoded\nContent-Length: {len(form)}\n"
    status, body = raw(site, head, form.encode())
    assert (status, body["status"]) == (200, "success")


@pytest.mark.parametrize(
    ("number", "yes"), [("2", "yes"), (2, "true"), (2.0, True), ("2.0", 1), (" 2 ", "1"), ("02", "Yes"), ("+2", "TRUE")]
)
def test_5_numbers_and_booleans_in_every_dress(site: Site, key: str, number: object, yes: object) -> None:
    with site.closed_gate():
        meta = site.held_back(key, samples=number, base64=yes, safety_checker=yes)["meta"]
        site.post("v5/clear_cache", key)
    assert (meta["n_samples"], meta["safety_checker"]) == (2, "yes")


def test_6_7_8_minus_one_empty_strings_and_missing_sizes(site: Site, key: str) -> None:
    given = {"seed": -1, "webhook": "", "scheduler": "", "lora_model": "", "model_id": "", "mask_image": ""}
    body = site.post("v3/img2img", key, prompt="a cat", init_image=PHOTO, num_inference_steps=1, **given).json()
    assert (body["meta"]["W"], body["meta"]["H"], body["meta"]["n_samples"]) == (96, 64, 1)  # as the photo's 48 x 32
    body = site.post("v3/text2img", key, prompt="a cat", num_inference_steps=1, width="", height=None).json()
    assert (body["meta"]["W"], body["meta"]["H"]) == (512, 512)


def test_9_fetch_in_its_shapes(site: Site, key: str) -> None:
    number = site.made(key)["id"]
    paths = (f"v3/fetch/{number}", "v3/fetch", "v6/images/fetch", f"v6/realtime/fetch/{number}", "v1/enterprise/fetch")
    for path in (*paths, f"v6/fetch/{number}", "v6/fetch"):
        for wanted in (number, str(number)):
            assert site.post(path, key, request_id=wanted).json()["id"] == number, path
    address = f"/api/v3/fetch/{number}"
    for reply in (
        site.http.post(address, data={"key": key}),
        site.http.post(address, headers={"key": key}),
        site.http.post(address, json=SMALL | {"key": key}),
        site.http.get(address, params={"key": key}),
        site.http.get("/api/v3/fetch", params={"key": key, "request_id": number}),
    ):
        assert reply.json()["status"] == "success"
    assert site.http.post(address).status_code == 401


def test_9_a_poll_without_a_key_finds_nothing_whatever_its_shape(site: Site, key: str) -> None:
    """Numbers can be guessed, and a request's words are its owner's: see why.md. The pictures' own addresses need no key."""
    made = site.made(key)
    address = f"/api/v3/fetch/{made['id']}"
    for reply in (site.http.post(address), site.http.get(address), site.http.post(address, content=b"{}")):
        assert (reply.status_code, reply.json()["message"]) == (401, "API key required")
    assert site.http.get(made["output"][0]).status_code == 200


def test_10_an_absolute_form_request_target(site: Site, key: str) -> None:
    number = site.made(key)["id"]
    head = f"POST http://HOST/api/v3/fetch/{number} HTTP/1.1\nHost: HOST\nkey: {key}\nContent-Length: 0\n"
    status, body = raw(site, head)
    assert (status, body["id"]) == (200, number)


def test_11_a_picture_by_get_with_an_empty_chunked_body_and_by_head(site: Site, key: str) -> None:
    address = site.made(key)["output"][0]
    got = site.http.request("GET", address, content=iter(()), headers={"Transfer-Encoding": "chunked"})
    assert (got.status_code, got.content[:4]) == (200, b"\x89PNG")
    assert int(site.http.head(address).headers["content-length"]) == len(got.content)


def test_12_and_13_output_is_an_empty_list_and_eta_a_number_while_processing(site: Site, key: str) -> None:
    with site.closed_gate():
        body = site.held_back(key)
        site.post("v3/delete_image", key, request_id=body["id"])
    assert body["output"] == []
    assert type(body["eta"]) is float
    assert body["eta"] >= 0


@pytest.mark.parametrize(
    ("path", "says", "text"),
    [
        ("v3/text2img", "messege", "Try to fetch request after given estimated time"),
        ("v3/dreambooth", "messege", "Try to fetch request after given estimated time"),
        ("v4/dreambooth", "messege", "Try to fetch request after given estimated time"),
        ("v6/images/text2img", "messege", "Try to fetch request after seconds estimated"),
        ("v6/realtime/text2img", "message", "Try to fetch request after seconds estimated"),
        ("v7/images/text-to-image", "message", "Try to fetch request after seconds estimated"),
        ("v1/enterprise/text2img", "messege", "Try to fetch request after given estimated time"),
    ],
)
def test_14_and_15_each_family_has_its_own_spelling(site: Site, key: str, path: str, says: str, text: str) -> None:
    with site.closed_gate():
        body = site.post(path, key, prompt="a cat", width=64, height=64, instant_response="true").json()
        waiting = site.post(body["fetch_result"].partition("/api/")[2], key).json()
        site.post("v3/delete_image", key, request_id=body["id"])
    assert body[says] == text
    both = {"message"} if path.startswith("v6/images") else set()  # whose later pages print the other word
    assert {"messege", "message"} & set(body) == {says} | both
    spelled = "messege" if path.startswith(("v6/images", "v1/enterprise")) else "message"
    assert waiting == {"status": "processing", spelled: "try again later.", "output": "", "tip": waiting["tip"]}


def test_16_messege_is_a_string_as_the_pages_print_it(site: Site, key: str) -> None:
    """One typed client reads a map of lists there, which no page shows: see why.md."""
    with site.closed_gate():
        waiting = site.held_back(key)
        site.post("v3/delete_image", key, request_id=waiting["id"])
    for body in (waiting, site.post("v3/img2img", key).json()):
        assert type(body["messege"]) is str


def test_17_typed_clients_get_integers(site: Site, key: str) -> None:
    meta = site.post("v6/images/img2img", key, **SMALL | {"samples": "1", "seed": "4139316548"}).json()["meta"]
    assert [meta[name] for name in ("W", "H", "steps", "n_samples", "seed")] == [64, 64, 2, 1, 4139316548]
    assert meta | {"scheduler": "", "use_karras_sigmas": "no", "id": str(meta["id"])} == meta


def test_18_made_or_in_the_making_the_status_is_200(site: Site, key: str) -> None:
    with site.closed_gate():
        waiting = site.post("v6/images/text2img", key, prompt="a", width=64, height=64, instant_response="yes")
        pending = site.post(f"v6/images/fetch/{waiting.json()['id']}", key)
        site.post("v3/delete_image", key, request_id=waiting.json()["id"])
    assert [waiting.status_code, pending.status_code, site.img2img(key).status_code] == [200, 200, 200]


def test_19_the_links_that_clients_prefer_lead_to_the_pictures(site: Site, key: str) -> None:
    with site.closed_gate():
        waiting = site.post(
            "v6/realtime/text2img", key, prompt="a", width=64, height=64, samples=2, instant_response=1
        ).json()
    links = waiting["future_links"]
    while (made := site.post(f"v6/realtime/fetch/{waiting['id']}", key).json())["status"] == "processing":
        pass
    assert made["output"] == made["proxy_links"] == links
    assert "future_links" not in made  # one client downloads both lists
    assert [site.http.get(link).status_code for link in links] == [200, 200]


def test_20_a_poll_for_an_id_that_is_no_number(site: Site, key: str) -> None:
    reply = site.post("v6/images/fetch/6b0f9a4e-5d0a-4a8e-9d0e-0a3b6c1d2e3f", key)
    assert reply.status_code == 404
    assert set(reply.json()) == {"status", "message", "messege"}


def test_21_22_23_one_sequence_of_ids_for_uploads_and_generations(site: Site, key: str) -> None:
    upload = site.post("v3/base64_crop", key, image=PHOTO, crop="false").json()
    made = site.made(key, init_image=upload["link"])
    assert made["id"] > upload["request_id"]
    for number in (upload["request_id"], made["id"]):
        assert site.post("v3/delete_image", key, request_id=number).status_code == 200
    again = site.made(key)
    name = again["output"][0].rpartition("/")[2]
    assert site.http.post("/api/v3/delete_image", data={"key": key, "image": name}).status_code == 200


def test_24_clear_cache_by_get_with_a_json_body(site: Site, key: str) -> None:
    sent = json.dumps({"key": key})
    head = (
        f"GET /api/v5/clear_cache HTTP/1.1\nHost: HOST\nContent-Type: application/json\nContent-Length: {len(sent)}\n"
    )
    assert raw(site, head, sent.encode()) == (200, {"status": "success", "message": "Cache cleared"})


MORE_PATHS = (
    "v3/dreambooth",
    "v3/dreambooth/img2img",
    "v4/dreambooth",
    "v4/dreambooth/img2img",
    "v7/images/text-to-image",
    "v7/images/image-to-image",
    "v7/images/inpaint",
)


@pytest.mark.parametrize("path", MORE_PATHS)
def test_25_the_paths_of_other_pages(site: Site, key: str, path: str) -> None:
    body = site.post(path, key, **SMALL | {"mask_image": PHOTO}).json()
    assert body["status"] == "success", body
    assert site.post(f"v7/images/fetch/{body['id']}", key).json()["output"] == body["output"]


@pytest.mark.parametrize("path", ["v3/dreambooth/model_list", "v4/dreambooth/model_list"])
def test_26_the_list_of_models_is_a_bare_array(site: Site, key: str, path: str) -> None:
    listed = site.post(path, key).json()
    assert {"plain", "other"} <= {each["model_id"] for each in listed}


def test_27_the_load_is_told_in_whole_numbers(site: Site, key: str) -> None:
    body = site.post("v3/system_load", key).json()
    assert {type(body["queue_num"]), type(body["queue_time"])} == {int}


@pytest.mark.parametrize("path", ["v4/dreambooth/img2img", "v6/images/img2img"])
def test_28_base64_goes_in_and_comes_out(site: Site, key: str, path: str) -> None:
    bare = PHOTO.partition(",")[2]
    body = site.post(path, key, **SMALL | {"init_image": bare, "base64": True}).json()
    assert body["output"][0].endswith("-0.base64")
    assert base64.b64decode(site.http.get(body["output"][0]).text)[:4] == b"\x89PNG"


def test_29_nobody_is_held_longer_than_the_setting_says(site: Site, key: str) -> None:
    """Clients give up after 20 s at the least; what takes longer than ``hold_seconds`` is answered with processing."""
    with site.closed_gate():
        began = time.monotonic()
        body = site.img2img(key).json()
        held = time.monotonic() - began
        site.post("v3/delete_image", key, request_id=body["id"])
    assert body["status"] == "processing"
    assert held > site.settings.hold_seconds - 0.5


def test_a_trailing_slash_and_a_body_with_a_byte_order_mark(site: Site, key: str) -> None:
    content = b"\xef\xbb\xbf" + json.dumps({"key": key}).encode()
    assert site.http.post("/api/v3/system_load/", content=content).json()["status"] == "ok"


@pytest.mark.parametrize("path", ["//api/v3/system_load", "/api//v3///system_load", "/api/v3/system_load//"])
def test_slashes_that_a_base_address_doubled(site: Site, key: str, path: str) -> None:
    status, body = raw(site, f"POST {path} HTTP/1.1\nHost: HOST\nKEY: {key}\nContent-Length: 0\n")
    assert (status, body["status"]) == (200, "ok")


def test_an_absolute_target_in_capitals_and_a_double_slash(site: Site, key: str) -> None:
    head = (
        f"POST HTTP://HOST//api/v3/system_load HTTP/1.1\nHOST: HOST\nAUTHORIZATION: BEARER {key}\nCONTENT-LENGTH: 0\n"
    )
    status, body = raw(site, head)
    assert (status, body["status"]) == (200, "ok")


def test_a_wrong_path_of_the_dialect_is_refused_in_its_shape_however_many_slashes(site: Site) -> None:
    said = "No such endpoint"
    for path in ("//api/v3/nothing", "/api//nothing"):
        status, body = raw(site, f"POST {path} HTTP/1.1\nHost: HOST\nContent-Length: 0\n")
        assert (status, body) == (404, {"status": "error", "message": said, "messege": said})


LOOKED_AT = ["/healthz", "/readyz", "/docs", "/docs/docs.js", "/api/v7/models/filters", "/api/agents/v1/me"]


@pytest.mark.parametrize("path", LOOKED_AT)
def test_head_tells_what_get_would(site: Site, key: str, path: str) -> None:
    got, head = (site.http.request(method, path, headers={"key": key}) for method in ("GET", "HEAD"))
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(got.content))


def test_a_failed_request_is_not_told_by_the_families_alone(site: Site, key: str) -> None:
    for path in ("v3/text2img", "v6/realtime/text2img", "v7/images/text-to-image"):
        reply = site.post(path, key)
        assert (reply.status_code, reply.json()) == (
            400,
            {"status": "error", "message": "prompt is required", "messege": "prompt is required"},
        )


def test_too_many_waiting_is_an_honest_429(site: Site, key: str) -> None:
    with site.closed_gate():
        replies = [
            site.post("v3/text2img", key, prompt="a", instant_response=1, width=64, height=64) for _ in range(21)
        ]
        last = replies.pop()
        for each in replies:
            site.post("v3/delete_image", key, request_id=each.json()["id"])
    assert {each.json()["status"] for each in replies} == {"processing"}
    assert last.status_code == 429
    body = last.json()
    assert body["retry_after"] == int(last.headers["retry-after"]) > 0
    assert body["message"] == body["messege"] == "Rate limit exceeded. Too many of your requests are waiting."


def test_every_number_of_the_table_has_a_test() -> None:
    named = [re.match(r"test_((?:\d+_(?:and_)?)+)", name) for name in globals()]
    numbers = {int(number) for found in named if found for number in re.findall(r"\d+", found[1])}
    assert numbers == {*range(1, 30)}
