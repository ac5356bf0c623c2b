"""The documented callback, and the errors of the dialect, rendered from records alone."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from safelight import errors
from safelight.records import ImageRequest, Job, JobState, Operation
from safelight.settings import read_settings
from safelight.wire import house
from safelight.wire.modelslab.images import SUCCESS
from safelight.wire.modelslab.write import webhook_body, write_error, write_success
from safelight.wire.tensorslab import write as tensorslab

PREFIX = "05c3260d-6a2e-4aa5-82f0-e952f2a5fa10"
AT = datetime(2026, 11, 21, 12, tzinfo=UTC)
URLS = [f"http://127.0.0.1:8000/generations/{PREFIX}-0.png"]
REQUEST = ImageRequest(
    Operation.img2img, "a cat sitting on a bench", steps=30, seed=1793745243, strength=0.7, track_id="order 7",
    extras={"init_image": URLS[0]},
)  # fmt: skip
DONE = Job(
    302455, 1, JobState.succeeded, REQUEST, PREFIX, AT, steps=21, seconds=2.920767068862915,
    model="safelight-tiny", nsfw=(False,), outputs=1,
)  # fmt: skip


def test_the_example_of_the_api_page_is_what_is_written() -> None:
    assert write_success(DONE, URLS) == SUCCESS


def test_a_success_is_called_back_as_documented() -> None:
    body = webhook_body(DONE, URLS)
    assert {name: body[name] for name in ("status", "id", "output", "generationTime", "track_id")} == {
        "status": "success",
        "id": 302455,
        "output": URLS,
        "generationTime": 2.920767068862915,
        "track_id": "order 7",
    }
    meta = body["meta"]
    assert isinstance(meta, dict)
    assert (meta["prompt"], meta["model_id"], meta["width"], meta["height"]) == (
        "a cat sitting on a bench",
        "safelight-tiny",
        512,
        512,
    )


def test_a_failure_is_called_back_as_documented() -> None:
    failed = replace(DONE, state=JobState.failed, error="The picture could not be made.")
    assert webhook_body(failed, []) == {
        "status": "failed",
        "id": 302455,
        "message": "Processing failed: The picture could not be made.",
        "track_id": "order 7",
    }


@pytest.mark.parametrize("track_id", ["7", 7, 1.5, True, None])
def test_a_track_id_comes_back_as_it_was(track_id: str | float | None) -> None:
    job = replace(DONE, request=replace(REQUEST, track_id=track_id))
    assert json.loads(json.dumps(webhook_body(job, URLS)))["track_id"] is track_id or isinstance(track_id, str | float)
    assert webhook_body(job, URLS)["track_id"] is track_id


def test_base64_is_called_back_as_addresses_of_text() -> None:
    job = replace(DONE, request=replace(REQUEST, base64=True))
    assert webhook_body(job, URLS)["output"] == [URLS[0].replace(".png", ".base64")]


def _all_errors(root: type[errors.SafelightError]) -> list[type[errors.SafelightError]]:
    return [root, *(each for child in root.__subclasses__() for each in _all_errors(child))]


OURS = [kind for kind in _all_errors(errors.SafelightError) if kind.__module__ == errors.__name__]
STATUSES = {
    "Invalid": 400,
    "Unfetchable": 400,
    "Unauthorized": 401,
    "NoCredit": 402,
    "Forbidden": 403,
    "NotFound": 404,
    "NotOffered": 501,
    "OverQuota": 429,
    "Overloaded": 429,
    "Refused": 429,
    "Unavailable": 503,
}


@pytest.mark.parametrize("write", [write_error, tensorslab.write_error, house.write_error])
@pytest.mark.parametrize("kind", OURS)
def test_every_error_of_the_tree_has_a_status_in_every_dialect(
    kind: type[errors.SafelightError], write: house.WriteError
) -> None:
    error = kind("width", "is wrong") if issubclass(kind, errors.Invalid) else kind()
    reply = write(error, "/api/v3/img2img", read_settings())
    assert reply.status_code == STATUSES.get(kind.__name__, 500)
    assert error.message in json.loads(bytes(reply.body)).values()
    assert ("retry-after" in reply.headers) == (reply.status_code in (429, 503))


@pytest.mark.parametrize("write", [write_error, tensorslab.write_error, house.write_error])
def test_a_mistake_of_ours_says_nothing_of_itself(write: house.WriteError) -> None:
    reply = write(ZeroDivisionError("in /srv/secret.py"), "/api/v3/img2img", read_settings())
    assert reply.status_code == 500
    assert b"Internal server error. Please try again." in reply.body
    assert b"secret" not in reply.body
