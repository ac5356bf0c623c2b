"""Safelight's own endpoints for erasing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from .site import PHOTO, Json, Site


def erase(site: Site, key: str, status: int = 200, **fields: object) -> Json:
    reply = site.http.post("/v1/erasures", json=fields, headers={"key": key})
    assert reply.status_code == status, reply.text
    body: Json = reply.json()
    return body


def gone(site: Site, key: str, job: Json) -> bool:
    fetched = site.http.get(f"/v1/jobs/{job['id']}", headers={"key": key}).status_code
    shown = site.http.get(job["output"][0]).status_code
    assert fetched == shown
    return fetched == 404


def an_upload(site: Site, key: str) -> Json:
    body: Json = site.post("v6/base64_to_url", key, base64_string=PHOTO).json()
    return body


def test_one_by_its_id_or_by_the_name_of_a_file(site: Site, key: str) -> None:
    first, second = site.made(key), an_upload(site, key)
    name = second["output"][0].rpartition("/")[2]
    for which, job in ((str(first["id"]), first), (name, second)):
        reply = site.http.delete(f"/v1/assets/{which}", headers={"key": key})
        assert (reply.status_code, reply.json()["id"], reply.json()["status"]) == (200, which, "erased")
        receipt = site.http.get(f"/v1/erasures/{reply.headers['x-safelight-receipt']}", headers={"key": key}).json()
        assert receipt["request_ids"] == [job["id"]]
        assert site.http.get(job["output"][0]).status_code == 404
        assert site.http.delete(f"/v1/assets/{which}", headers={"key": key}).json()["receipt"] == receipt["id"]


@pytest.mark.parametrize("which", ["0", "9" * 30, "nothing.png", "%00", "..%2f..%2fmaster.key"])
def test_what_is_not_there_is_not_erased(site: Site, key: str, which: str) -> None:
    assert site.http.delete(f"/v1/assets/{which}", headers={"key": key}).status_code == 404


def test_many_by_ids_all_or_none(site: Site, key: str) -> None:
    jobs = [site.made(key, seed=seed) for seed in range(2)]
    ids = [job["id"] for job in jobs]
    refused = erase(site, key, 404, ids=[*ids, 7])
    assert refused == {"status": "error", "message": "Not found: 7. Nothing was erased."}
    assert not any(gone(site, key, job) for job in jobs)
    weight = erase(site, key, ids=ids, dry_run="yes")
    assert (weight["dry_run"], weight["requests"], weight["assets"]) == (True, 2, 4)
    assert not any(gone(site, key, job) for job in jobs)
    receipt = erase(site, key, ids=[*map(str, ids), ids[0]])
    assert all(gone(site, key, job) for job in jobs)
    assert (receipt["request_ids"], receipt["requests"], receipt["left"], receipt["assets"]) == (ids, 2, 0, 4)
    assert receipt["bytes"] == weight["bytes"]
    assert receipt["status"] in ("erased", "verified")


def test_by_track_id_and_by_kind(site: Site, key: str) -> None:
    wanted, other, plain = site.made(key, track_id="tour 7"), site.made(key, track_id=7), site.made(key)
    upload = an_upload(site, key)
    stranger = site.key()
    foreign = site.made(stranger, track_id="tour 7")
    assert erase(site, key, track_id="tour 7", kind="upload")["request_ids"] == []
    assert erase(site, key, track_id="tour 7")["request_ids"] == [wanted["id"]]
    assert erase(site, key, track_id=7)["request_ids"] == [other["id"]]
    assert gone(site, key, wanted)
    assert not gone(site, key, plain)
    assert erase(site, key, kind="upload")["request_ids"] == [upload["id"]]
    assert site.http.get(upload["output"][0]).status_code == 404
    receipt = erase(site, key, everything=True)
    assert (receipt["request_ids"], receipt["scope"]) == ([plain["id"]], "filter")
    assert not gone(site, stranger, foreign)


def test_by_age(site: Site, key: str) -> None:
    job = site.made(key)
    assert erase(site, key, older_than="2020-01-01")["requests"] == 0
    assert not gone(site, key, job)
    later = datetime.now(UTC) + timedelta(days=1)
    assert erase(site, key, older_than=later.isoformat(), kind="generation")["request_ids"] == [job["id"]]
    assert gone(site, key, job)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "Say what to erase"),
        ({"dry_run": True}, "Say what to erase"),
        ({"everything": "no"}, "Say what to erase"),
        ({"ids": [1], "kind": "upload"}, "Say what to erase"),
        ({"everything": True, "kind": "upload"}, "Say what to erase"),
        ({"ids": []}, "ids must be a list of 1 to 100,000 ids"),
        ({"ids": 5}, "ids must be a list"),
        ({"ids": [True]}, "ids must hold whole numbers only"),
        ({"ids": [1.5]}, "ids must hold whole numbers only"),
        ({"kind": "everything"}, "kind must be one of generation, upload"),
        ({"older_than": "yesterday"}, "older_than must be a date"),
        ({"track_id": ["x"]}, "track_id must be a string or a number"),
    ],
)
def test_what_is_not_said_clearly_erases_nothing(site: Site, key: str, fields: Json, said: str) -> None:
    assert erase(site, key, 400, **fields)["message"].startswith(said)


def test_receipts_page_by_page(site: Site, key: str) -> None:
    made = [erase(site, key, ids=[site.made(key)["id"]])["id"] for _ in range(3)]
    erase(site, stranger := site.key(), everything=True)
    seen, before = [], None
    while True:
        reply = site.http.get("/v1/erasures", params={"limit": 2, "before": before or ""}, headers={"key": key}).json()
        seen += [receipt["id"] for receipt in reply["erasures"]]
        assert all("request_ids" not in receipt and receipt["requests"] == 1 for receipt in reply["erasures"])
        if (before := reply["next"]) is None:
            break
    assert seen == made[::-1]
    assert len(site.http.get("/v1/erasures", headers={"key": stranger}).json()["erasures"]) == 1
