"""Processes that are killed in the middle of their work. Afterwards every accepted job is finished, once.

One kill of each kind is in the default suite; the rest run with ``scripts/test --all``.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import httpx
import psutil
import pytest

from safelight.storage import postgres
from safelight.storage.blobs import open_blobs
from safelight.storage.database import Database
from safelight.storage.deletion_log import DeletionLog
from tests.invariants import check_invariants
from tests.whole.running import QUICK, SAFELIGHT, Running, environment, eventually, serving


def begin_many(server: Running, count: int = 6) -> list[int]:
    """Accepted, and at least one of them in the making."""
    jobs = [server.begin(seed=seed) for seed in range(count)]
    eventually(lambda: states(server, "running"), 60, "a job that runs")
    return jobs


def states(server: Running, state: str) -> int:
    return int(server.rows(f"SELECT count(*) FROM jobs WHERE state = '{state}'")[0][0])


def all_finished_once(server: Running, jobs: Sequence[int], seconds: float = 240.0) -> None:
    until = time.monotonic() + seconds
    assert [server.fetched(job, max(until - time.monotonic(), 1))["status"] for job in jobs] == ["success"] * len(jobs)
    listed = ",".join(map(str, jobs))
    assert server.rows(f"SELECT count(*), count(DISTINCT job_id) FROM usage WHERE job_id IN ({listed})") == [
        (len(jobs),) * 2
    ]
    asyncio.run(_check(server.data))


async def _check(data: Path) -> None:
    database = Database(postgres.url_of(postgres.socket_folder(data)))
    await database.open()
    try:
        await check_invariants(database, open_blobs((data / "blobs").as_uri()))
    finally:
        await database.close()


def kill(*processes: psutil.Process) -> None:
    for process in processes:
        process.kill()
    psutil.wait_procs(processes, 10)


def test_a_killed_worker(server: Running) -> None:
    worker = server.the_worker()
    jobs = begin_many(server)
    kill(worker)
    all_finished_once(server, jobs)
    assert server.the_worker().pid != worker.pid
    assert [line["exit_code"] for line in server.lines() if "worker ended by itself" in line["event"]] == [-9]


def test_a_killed_database_is_started_again(data: Path) -> None:
    with serving(data, "--workers", "0") as server:
        jobs = [server.begin(seed=seed) for seed in range(2)]
        before = server.postmaster()
        kill(before)
        eventually(lambda: server.answer("v3/system_load").status_code == 200, 60, "the database")
        assert server.postmaster().pid != before.pid
        assert sorted(server.rows("SELECT id, state FROM jobs")) == [(job, "queued") for job in jobs]
        assert server.stop() == 0
    assert not (data / "postgres/data/postmaster.pid").exists()


@pytest.mark.chaos
def test_a_killed_workers_jobs_are_free_at_once(data: Path, checkpoint: str) -> None:
    """At the settings that everybody has, by which a lease would run for twenty seconds more."""
    with serving(data, SAFELIGHT_MODEL=checkpoint) as server:
        server.wait_ready()
        jobs = begin_many(server, 16)
        kill(server.the_worker())
        began = time.monotonic()
        eventually(lambda: not states(server, "running"), 10, "freed jobs")
        assert time.monotonic() - began < 2
        all_finished_once(server, jobs)


@pytest.mark.chaos
def test_a_killed_server(data: Path, checkpoint: str) -> None:
    """Its worker ends by itself; its database is taken over by the next start."""
    with serving(data, SAFELIGHT_MODEL=checkpoint) as first:
        first.wait_ready()
        worker, postmaster = first.the_worker(), first.postmaster()
        jobs = begin_many(first, 24)
        first.process.kill()
        first.process.wait()
        worker.wait(60)
        with serving(data, SAFELIGHT_MODEL=checkpoint, key=first.key) as again:
            assert again.postmaster() == postmaster
            all_finished_once(again, jobs)
            assert again.stop() == 0
        assert not postmaster.is_running()


@pytest.mark.chaos
def test_a_killed_database_in_mid_generation(data: Path, checkpoint: str) -> None:
    with serving(data, SAFELIGHT_MODEL=checkpoint) as server:
        server.wait_ready()
        jobs = begin_many(server, 16)
        kill(server.postmaster())
        eventually(lambda: server.answer("v3/system_load").status_code == 200, 60, "the database")
        all_finished_once(server, jobs)
        assert server.stop() == 0


@pytest.mark.chaos
def test_everything_is_killed_at_once(data: Path, checkpoint: str) -> None:
    with serving(data, SAFELIGHT_MODEL=checkpoint) as first:
        first.wait_ready()
        jobs = begin_many(first, 16)
        kill(psutil.Process(first.process.pid), first.the_worker(), first.postmaster())
    with serving(data, SAFELIGHT_MODEL=checkpoint, key=first.key) as again:
        all_finished_once(again, jobs)


@pytest.mark.chaos
def test_workers_are_killed_again_and_again(data: Path, checkpoint: str) -> None:
    with serving(data, SAFELIGHT_MODEL=checkpoint, **QUICK) as server:
        server.wait_ready()
        jobs = begin_many(server, 30)
        for _ in range(6):
            kill(eventually(server.worker, 60, "a worker"))
            eventually(lambda: states(server, "queued") + states(server, "running") == 0 or _works(server), 60, "work")
        all_finished_once(server, jobs, 180)


def _works(server: Running) -> bool:
    live = server.rows("SELECT count(*) FROM jobs WHERE state = 'running' AND lease_until > now()")[0][0]
    return bool(live) and server.worker() is not None


@pytest.mark.chaos
def test_a_worker_that_comes_back_from_the_dead_commits_nothing(data: Path, checkpoint: str) -> None:
    with serving(data, SAFELIGHT_MODEL=checkpoint, **QUICK) as server:
        server.wait_ready()
        sleeper = server.the_worker()
        jobs = begin_many(server)
        sleeper.suspend()
        told = environment(data, SAFELIGHT_MODEL=checkpoint, **QUICK)
        with (data.parent / "second.log").open("wb") as log:
            second = subprocess.Popen([*SAFELIGHT, "worker"], env=told, stderr=log)
        try:
            all_finished_once(server, jobs)
            assert server.rows("SELECT max(attempt) FROM jobs")[0][0] == 2
            sleeper.resume()
            time.sleep(5)
            all_finished_once(server, jobs)
            assert sleeper.is_running()
        finally:
            second.send_signal(signal.SIGTERM)
            assert second.wait(60) == 0
            os.kill(sleeper.pid, signal.SIGCONT)


MANY = 20_000
FILL = f"""
    WITH made AS (
        INSERT INTO jobs (id, account_id, state, file_prefix, rank, cost, steps, finished_at)
        SELECT nextval('request_ids'), (SELECT min(id) FROM accounts), 'failed', gen_random_uuid(), 0, 1, 1, now()
        FROM generate_series(1, {MANY}) RETURNING id
    ) INSERT INTO requests (job_id, body) SELECT id, '{{"prompt": "one of many"}}' FROM made RETURNING job_id
"""


@pytest.mark.chaos
def test_a_large_erasure_goes_on_where_a_killed_server_stopped(data: Path) -> None:
    with serving(data, "--workers", "0") as first:
        ids = [row[0] for row in first.rows(FILL)]
        asking = threading.Thread(target=_erase_everything, args=(first,))
        asking.start()
        eventually(lambda: 0 < _erased(first) < MANY, 60, "the first slices")
        kill(psutil.Process(first.process.pid))
        asking.join()
        before = _erased(first)
        assert 0 < before < MANY
        with serving(data, "--workers", "0", key=first.key) as again:
            eventually(lambda: _erased(again) == MANY, 120, "the rest")
            (receipt,) = httpx.get(f"{again.url}/v1/erasures", headers={"key": again.key}).json()["erasures"]
            assert (receipt["requests"], receipt["left"]) == (MANY, 0)
            assert again.rows("SELECT count(*) FROM requests") == [(0,)]
            assert again.stop() == 0
    told = [int(each) for _, line in DeletionLog(data / "deletions.log").read() for one in line for each in one.whole]
    assert set(told) == set(ids)


def _erase_everything(server: Running) -> None:
    with contextlib.suppress(httpx.TransportError):
        httpx.post(f"{server.url}/v1/erasures", json={"everything": True}, headers={"key": server.key}, timeout=60)


def _erased(server: Running) -> int:
    return int(server.rows("SELECT count(*) FROM jobs WHERE erased_at IS NOT NULL")[0][0])
