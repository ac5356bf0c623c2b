"""What an operator sees of the running house: metrics that move, and logs that tell everything but what was said."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.whole.running import Running, eventually
from tests.whole.website import Website


def samples(server: Running) -> Iterator[tuple[str, dict[str, str], float]]:
    for family in text_string_to_metric_families(server.get("/metrics").text):
        yield from ((sample.name, sample.labels, sample.value) for sample in family.samples)


def value(server: Running, name: str, **labels: str) -> float:
    return sum(found for each, told, found in samples(server) if each == name and labels.items() <= told.items())


def test_metrics_tell_of_queue_wait_steps_rows_outcomes_and_latencies(server: Running) -> None:
    before = value(server, "safelight_jobs_total", outcome="succeeded")
    post = {"method": "POST", "route": "/api/v3/text2img", "status": "200"}
    calls = value(server, "safelight_http_seconds_count", **post)
    assert server.draw(num_inference_steps=20)["status"] == "success"
    assert value(server, "safelight_jobs_total", outcome="succeeded") == before + 1
    assert value(server, "safelight_http_seconds_count", **post) == calls + 1
    assert eventually(lambda: value(server, "safelight_worker_step_seconds"), 60, "a step's time") > 0
    assert value(server, "safelight_worker_rows_per_tick") >= 1
    used, free, total, held = server.rows("SELECT memory_used, memory_free, memory_total, checkpoints FROM nodes")[0]
    assert 0 < used < total > free > 0
    assert [(each["state"], each["bytes"] > 0) for each in held.values()] == [("loaded", True)]
    assert value(server, "safelight_workers_alive") >= 1
    assert value(server, "safelight_blob_bytes") > 0
    names = {name for name, _, _ in samples(server)}
    assert {"safelight_jobs_waiting", "safelight_jobs_running", "safelight_oldest_wait_seconds"} <= names


def test_metrics_of_a_queue_without_workers(door: Running) -> None:
    waiting = value(door, "safelight_jobs_waiting")
    door.begin()
    assert value(door, "safelight_jobs_waiting") == waiting + 1
    assert value(door, "safelight_oldest_wait_seconds") > 0
    assert value(door, "safelight_workers_alive") == 0
    ready = door.get("/readyz")
    assert (ready.status_code, ready.json()["status"]) == (503, "error")
    assert "No worker is alive yet" in ready.json()["message"]


def test_labels_hold_no_ids(server: Running) -> None:
    server.get("/generations/nothing-of-the-kind.png")
    server.get("/no/such/place")
    routes = {told["route"] for name, told, _ in samples(server) if name == "safelight_http_seconds_count"}
    assert "(none)" in routes
    assert not any("nothing-of-the-kind" in route for route in routes)


@pytest.fixture
def canary() -> str:
    return f"canary{uuid.uuid4().hex}"


def test_logs_are_json_with_request_ids_and_never_a_key_or_a_prompt(
    server: Running, site: Website, canary: str
) -> None:
    """A success, a webhook, refusals of several kinds, bad JSON, and a key where none belongs."""
    server.draw(prompt=canary, negative_prompt=canary, webhook=f"{site.url}/{canary}", track_id=canary)
    server.draw("img2img", prompt=canary, init_image=f"{site.url}/{canary}.png")
    server.answer("v3/img2img", prompt=canary, init_image=canary)
    server.answer("v3/text2img", prompt=canary, width=canary)
    server.answer("v3/text2img", key=canary, prompt=canary)
    httpx.post(f"{server.url}/api/v3/text2img?key={canary}", content=b'{"prompt": "' + canary.encode())
    named = httpx.post(f"{server.url}/api/v3/system_load", json={"key": server.key}, headers={"X-Request-Id": "mine-1"})
    assert named.headers["x-request-id"] == "mine-1"
    eventually(lambda: site.posted and "mine-1" in server.log.read_text(), 60, "a webhook and the last line")
    logs = server.log.read_text()
    assert canary not in logs
    assert canary not in (server.data / "postgres.log").read_text()
    assert server.key not in logs
    lines = [json.loads(line) for line in logs.splitlines()]
    (mine,) = [line for line in lines if line.get("request_id") == "mine-1"]
    assert (mine["event"], mine["route"], mine["status"]) == ("request", "/api/v3/system_load", 200)
    assert {"event", "level", "timestamp", "logger"} <= set.intersection(*map(set, lines))
