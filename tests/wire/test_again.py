"""A request that its caller sends again with the same Idempotency-Key is not made again."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import httpx
import psycopg
import pytest

from .site import PHOTO, Json, Site

ASKED: Json = {"prompt": "a cat", "init_image": PHOTO, "width": 64, "height": 64, "num_inference_steps": 4}


def again(site: Site, key: str, mark: str, **fields: object) -> httpx.Response:
    return site.http.post("/api/v3/img2img", json={"key": key, **ASKED, **fields}, headers={"Idempotency-Key": mark})


def test_a_repeat_gives_back_the_first_ones_pictures(site: Site) -> None:
    key = site.key()
    first = again(site, key, "one").json()
    before = site.holdings()
    repeat = again(site, key, "one").json()
    assert first["status"] == repeat["status"] == "success"
    assert repeat == first
    assert site.holdings() == before


def test_a_repeat_while_the_first_is_being_made(site: Site) -> None:
    key = site.key()
    with site.closed_gate():
        first = again(site, key, "one", instant_response="yes").json()
        repeat = again(site, key, "one", instant_response="yes").json()
    assert first["status"] == repeat["status"] == "processing"
    assert repeat["id"] == first["id"]
    assert repeat["future_links"] == first["future_links"]


def test_twenty_at_once_make_one(site: Site) -> None:
    key, before = site.key(), site.holdings()
    with ThreadPoolExecutor(20) as pool:
        replies = list(pool.map(lambda _: again(site, key, "one").json(), range(20)))
    assert {reply["status"] for reply in replies} == {"success"}
    assert len({reply["id"] for reply in replies}) == 1
    after = site.holdings()
    assert after["jobs"] == before["jobs"] + 1
    assert after["files"] == before["files"] + 2  # its init image and its picture


@pytest.mark.parametrize("changed", [{"prompt": "a dog"}, {"seed": 4}, {"init_image": PHOTO + "AAAA"}])
def test_the_same_key_for_something_else_is_refused(site: Site, changed: Json) -> None:
    key = site.key()
    assert again(site, key, "one").status_code == 200
    refused = again(site, key, "one", **changed)
    assert refused.status_code == 400
    assert refused.json()["message"] == "Idempotency-Key was sent before with another request"


def test_another_endpoint_is_something_else(site: Site) -> None:
    key = site.key()
    assert again(site, key, "one").status_code == 200
    body = {"key": key, **ASKED}
    assert site.http.post("/api/v3/text2img", json=body, headers={"Idempotency-Key": "one"}).status_code == 400


def test_keys_of_others_do_not_matter(site: Site) -> None:
    ids = {again(site, key, mark).json()["id"] for key in (site.key(), site.key()) for mark in ("one", "two")}
    assert len(ids) == 4


def test_what_was_deleted_does_not_come_back(site: Site) -> None:
    key = site.key()
    made = again(site, key, "one").json()
    assert site.post("v3/delete_image", key, request_id=made["id"]).json()["status"] == "success"
    repeat = again(site, key, "one")
    assert repeat.status_code == 404
    assert "output" not in repeat.json()


def test_a_repeat_needs_no_room(site: Site) -> None:
    key = site.key()
    with site.closed_gate():
        first = again(site, key, "one", instant_response="yes").json()
        for _ in range(site.settings.account_queue - 1):
            site.held_back(key)
        assert site.img2img(key).status_code == 429
        assert again(site, key, "one", instant_response="yes").json()["id"] == first["id"]


def test_a_refused_request_may_be_corrected_under_its_key(site: Site) -> None:
    key = site.key()
    assert again(site, key, "one", samples=5).status_code == 400
    assert again(site, key, "one").status_code == 200


def test_a_key_too_long_is_refused_and_an_empty_one_is_none(site: Site) -> None:
    key = site.key()
    assert "at most 255 characters" in again(site, key, "x" * 256).json()["message"]
    assert again(site, key, "").json()["id"] != again(site, key, "").json()["id"]


def test_only_hashes_are_kept(site: Site) -> None:
    assert site.settings.database_url
    key = site.key()
    again(site, key, "my-own-words", prompt="canary in a cage")
    with psycopg.connect(site.settings.database_url) as connection:
        rows = connection.execute("SELECT encode(key, 'escape'), encode(request, 'escape') FROM once").fetchall()
    kept = repr(rows)
    assert "my-own-words" not in kept
    assert "canary" not in kept
