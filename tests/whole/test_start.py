"""How the server starts, refuses to start, and ends: real processes, no worker where none is needed."""

from __future__ import annotations

import json
import signal
import socket
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
import pytest
import structlog

from safelight.checkpoints import named_checkpoints
from safelight.door import reachable, unreachable
from safelight.errors import SetupFailed
from safelight.settings import read_settings
from tests.whole.running import Running, command, leftovers, serving, typed


def test_the_first_start_makes_a_key_and_shows_it_once(data: Path) -> None:
    with serving(data, "--workers", "0") as first:
        assert first.key.startswith("slk_")
        assert first.post("v3/system_load")["status"] == "ok"
        address = json.loads(data.with_suffix(".out").read_text())["console"]
        assert ["set-cookie" in httpx.get(address).headers for _ in range(2)] == [True, False]
        assert first.stop() == 0
    with serving(data, "--workers", "0", "--no-console", key=first.key) as again:
        assert '"key": null, "console": null' in again.data.with_suffix(".out").read_text()
        assert again.get("/console").status_code == 404
        assert again.post("v3/system_load")["status"] == "ok"
        assert again.stop(signal.SIGINT) == 0
    assert leftovers(data) == []
    assert first.key not in first.log.read_text()


def test_a_second_start_on_the_same_data_says_so(door: Running) -> None:
    port = door.url.rpartition(":")[2]
    second = command(door.data, "serve", "--port", port, "--workers", "0")
    assert second.returncode == 1
    assert f"Safelight already runs on {door.data} (process {door.process.pid}). Stop it first" in second.stderr
    assert "Traceback" not in second.stderr
    assert door.get("/healthz").status_code == 200


def test_a_port_in_use_is_named(data: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = command(data, "serve", "--port", str(port), "--workers", "0")
    assert ended.returncode == 1
    assert f"Cannot listen on 127.0.0.1:{port}: Address already in use. Choose another with --port." in ended.stderr
    assert leftovers(data) == []


def test_an_open_door_needs_a_key(data: Path) -> None:
    refused = command(data, "serve", "--host", "0.0.0.0", "--port", "0", "--workers", "0")
    assert refused.returncode == 1
    assert (
        "0.0.0.0 can be reached by others and there is no key yet. Make one with `safelight keys create"
        in refused.stderr
    )
    assert leftovers(data) == []
    made = typed(data, "keys", "create", "team", "--json")
    assert made.returncode == 0, made.stderr
    with serving(data, "--host", "0.0.0.0", "--workers", "0") as opened:
        assert opened.key == ""
        assert "0.0.0.0" not in opened.url
        assert opened.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    ("host", "given"),
    [("127.0.0.1", None), ("::1", None), ("nas.local", None), ("0.0.0.0", "https://images.example.org")],
)
def test_an_address_that_leads_here_is_left_alone(host: str, given: str | None) -> None:
    settings = read_settings(host=host, public_url=given)
    assert unreachable(settings) is None
    assert reachable(settings) is settings


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_an_address_that_leads_nowhere_is_told_and_one_of_this_machine_stands_in(host: str) -> None:
    with structlog.testing.capture_logs() as lines:
        found = reachable(read_settings(host=host, port=8123)).base_url
    assert urlsplit(found).hostname != host
    assert found.endswith(":8123")
    (line,) = lines
    assert "Set SAFELIGHT_PUBLIC_URL (--public-url)" in line["event"]


def test_where_the_first_host_is_trusted_there_is_nothing_to_warn_of() -> None:
    with structlog.testing.capture_logs() as lines:
        settings = reachable(read_settings(host="0.0.0.0", port=8123, trust_first_host=True))
    assert lines == []
    for host in ("bad host", "", "nas.local:8123", "later.example"):
        settings.hear_host(host)
    assert settings.base_url == "http://nas.local:8123"


def test_a_bad_setting_stops_the_start(data: Path) -> None:
    ended = typed(data, "serve", SAFELIGHT_SAFETY_THRESHOLD="often")
    assert ended.returncode == 1
    said = "Setting safety_threshold (SAFELIGHT_SAFETY_THRESHOLD) has value 'often': Input should be a valid number"
    assert ended.stderr.startswith(f"safelight: {said}")
    assert ended.stderr.count("\n") == 1


def test_a_blob_store_that_is_none_is_named(data: Path) -> None:
    ended = typed(data, "serve", "--workers", "0", "--port", "0", "--blob-url", "ftp://pictures")
    assert ended.returncode == 1
    assert "The blob store ftp://pictures cannot be used" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert leftovers(data) == []


def test_a_database_that_does_not_answer_is_named(data: Path) -> None:
    ended = typed(data, "serve", "--workers", "0", "--port", "0", "--database-url", "postgresql://127.0.0.1:1/none")
    assert ended.returncode == 1
    assert "The database does not answer." in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("port", "70000", "Setting port (SAFELIGHT_PORT) has value '70000'"),
        ("public_url", "images", "has value 'images': must begin with http:// or https://."),
        ("model", "/nowhere", "Setting model has value '/nowhere': neither a name from `models` nor a path that exists."),
        ("models", '{"a": "/nowhere"}', "a is to be at /nowhere, and nothing is there."),
        ("loras", '{"b": "/nowhere"}', "b is to be at /nowhere, and nothing is there."),
        ("models", "{", "Setting models (SAFELIGHT_MODELS) must be JSON."),
    ],
)  # fmt: skip
def test_a_bad_setting_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv("SAFELIGHT_MODEL", str(tmp_path))
    monkeypatch.setenv(f"SAFELIGHT_{name.upper()}", value)
    with pytest.raises(SetupFailed) as failed:
        named_checkpoints(read_settings())
    assert said in failed.value.message


@pytest.mark.slow
def test_a_drain_finishes_or_hands_back_what_runs(data: Path, checkpoint: str) -> None:
    with serving(data, SAFELIGHT_MODEL=checkpoint) as server:
        server.wait_ready()
        family = [psutil.Process(server.process.pid), server.the_worker(), server.postmaster()]
        jobs = [server.begin(seed=seed) for seed in range(6)]
        assert server.stop() == 0
    assert [process for process in family if process.is_running()] == []
    assert not (data / "postgres/data/postmaster.pid").exists()
    with serving(data, "--workers", "0", key=server.key) as again:
        states = dict(again.rows("SELECT id, state FROM jobs"))
        assert sorted(states) == sorted(jobs)
        assert set(states.values()) <= {"succeeded", "queued"}
        assert "succeeded" in states.values()


@pytest.mark.chaos
def test_a_drain_loses_nothing(data: Path, checkpoint: str) -> None:
    """What did not fit into the first server's life is done by the next one, as if it had not been tried."""
    with serving(data, SAFELIGHT_MODEL=checkpoint) as first:
        first.wait_ready()
        jobs = [first.begin(seed=seed) for seed in range(40)]
        assert first.stop(signal.SIGINT) == 0
        assert leftovers(data) == []
    with serving(data, SAFELIGHT_MODEL=checkpoint, key=first.key) as again:
        assert [again.fetched(job, 120)["status"] for job in jobs] == ["success"] * 40
        assert again.rows("SELECT DISTINCT attempt FROM jobs") == [(1,)]
