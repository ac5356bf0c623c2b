"""The TensorsLab task endpoints, by the bodies of its own pages and of its published clients."""

from __future__ import annotations

import re

import httpx
import pytest

from .site import Site

DELETED = {"code": 1000, "msg": "Successfully", "data": {"status": "Success"}}


def call(site: Site, operation: str, key: str, **fields: object) -> httpx.Response:
    return site.http.post(
        f"/v1/images/{operation}", json=fields, headers={"Authorization": f"Bearer {key}" if key else ""}
    )


def test_a_finished_task_tells_where_its_pictures_are(site: Site, key: str) -> None:
    made = site.made(key, seed=11, negative_prompt="blurry", enhance_prompt="no")
    task = made["meta"]["file_prefix"]
    body = call(site, "infobytaskid", key, taskid=task).json()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", body["data"]["starttime"])
    assert body == {
        "code": 1000,
        "msg": "OK",
        "data": {
            "taskid": task,
            "starttime": body["data"]["starttime"],
            "url": made["output"],
            "image_status": 3,
            "width": 64,
            "height": 64,
            "category": "img2img",
            "prompt": "a cat",
            "negative": "blurry",
            "origseed": 11,
        },
    }


def test_a_task_that_waits_or_failed_has_no_pictures(site: Site, key: str) -> None:
    with site.closed_gate():
        task = site.held_back(key)["meta"]["file_prefix"]
        data = call(site, "infobytaskid", key, taskid=task).json()["data"]
        assert (data["image_status"] in (1, 2), data["url"]) == (True, [])
    failed = site.img2img(key, prompt="a mistake").json()["id"]
    data = call(site, "infobytaskid", key, taskid=failed).json()["data"]
    assert (data["image_status"], data["url"], data["error_message"]) == (4, [], "The picture could not be made.")


def test_the_bare_key_is_taken_too(site: Site, key: str) -> None:
    task = site.made(key)["meta"]["file_prefix"]
    reply = site.http.post("/v1/images/infobytaskid", json={"taskid": task}, headers={"Authorization": key})
    assert reply.json()["code"] == 1000


def test_a_batch_is_deleted_whole(site: Site, key: str) -> None:
    one, two, three = (site.made(key) for _ in range(3))
    tasks = [one["meta"]["file_prefix"], two["id"], str(three["id"]), one["meta"]["file_prefix"]]
    reply = call(site, "deleteimagestask", key, uid="somebody else", taskids=tasks)
    assert (reply.status_code, reply.json()) == (200, DELETED)
    assert {site.http.get(each["output"][0]).status_code for each in (one, two, three)} == {404}
    assert call(site, "deleteimagestask", key, taskids=tasks).json() == DELETED
    gone = call(site, "infobytaskid", key, taskid=tasks[0])
    assert (gone.status_code, gone.json()) == (400, {"code": 9999, "msg": "taskid names no task of yours"})


def test_a_batch_with_an_unknown_task_deletes_nothing_and_names_it(site: Site, key: str) -> None:
    mine = site.made(key)
    foreign = site.made(site.key())
    unknown = ["05c3260d-6a2e-4aa5-82f0-e952f2a5fa10", "nonsense", foreign["meta"]["file_prefix"]]
    reply = call(site, "deleteimagestask", key, taskids=[mine["meta"]["file_prefix"], *unknown])
    assert reply.status_code == 400
    assert reply.json() == {
        "code": 9999,
        "msg": f"taskids names unknown tasks: {', '.join(unknown)}",
        "data": {"status": "Failed"},
    }
    assert [site.http.get(each["output"][0]).status_code for each in (mine, foreign)] == [200, 200]


@pytest.mark.parametrize(
    ("taskids", "said"),
    [
        ([], "taskids must be a list of at least one task id"),
        (None, "taskids must be a list of at least one task id"),
        ("abc", "taskids must be a list of at least one task id"),
        ([""], "taskids is required"),
        ([None], "taskids is required"),
        ([True], "taskids must be a task id: a string of at most 200 characters"),
        ([["a"]], "taskids must be a task id: a string of at most 200 characters"),
        (["a" * 201], "taskids must be a task id: a string of at most 200 characters"),
        (["a\0"], "taskids must not contain NUL characters"),
        ([str(n) for n in range(1_001)], "taskids must hold at most 1000 task ids"),
        ([1] * 100_000, "taskids must hold at most 1000 task ids"),
    ],
)
def test_a_list_that_is_none_is_refused(site: Site, key: str, taskids: object, said: str) -> None:
    before = site.holdings()
    reply = call(site, "deleteimagestask", key, taskids=taskids)
    assert (reply.status_code, reply.json()) == (400, {"code": 9999, "msg": said})
    assert site.holdings() == before


@pytest.mark.parametrize("operation", ["infobytaskid", "deleteimagestask"])
def test_without_a_key_nothing_is_said(site: Site, operation: str) -> None:
    for key, said in (("", "API key required"), ("wrong", "Invalid API key")):
        reply = call(site, operation, key, taskid="x", taskids=["x"])
        assert (reply.status_code, reply.json()) == (401, {"code": 9999, "msg": said})


def test_errors_have_the_envelope(site: Site) -> None:
    unknown = site.http.post("/v1/images/seedream")
    assert (unknown.status_code, unknown.json()) == (404, {"code": 9999, "msg": "No such endpoint"})
    broken = site.http.post("/v1/images/infobytaskid", content=b"{")
    assert (broken.status_code, broken.json()) == (
        400,
        {"code": 9999, "msg": "body is not valid JSON at line 1, column 2"},
    )
