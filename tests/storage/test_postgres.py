"""The embedded server: one at a time, recovering from anything, and clear about why it cannot start."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from safelight.errors import SetupFailed
from safelight.storage.postgres import EmbeddedPostgres, find, socket_folder

SERVE = """
import sys, time
from pathlib import Path
from safelight.storage.postgres import EmbeddedPostgres
EmbeddedPostgres(Path(sys.argv[1])).start()
print("started", flush=True)
time.sleep(600)
"""


def ask(url: str, question: str) -> object:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(question.encode())
        row = cursor.fetchone() if cursor.description else None
    return row[0] if row else None


def postmaster(data_dir: Path) -> int:
    return int((data_dir / "postgres/data/postmaster.pid").read_text().split()[0])


@pytest.fixture(scope="module")
def created(folders: Path) -> Path:
    """A folder with a server's data, stopped. Making one takes longer than anything else here."""
    folder = folders / "created"
    server = EmbeddedPostgres(folder)
    server.start()
    server.stop()
    return folder


@pytest.fixture
def server(created: Path) -> Iterator[EmbeddedPostgres]:
    """Not yet started; stopped at the end, whatever happened."""
    made = EmbeddedPostgres(created)
    yield made
    made.stop()


def test_what_is_written_is_there_after_a_stop_and_a_start(data_dir: Path) -> None:
    half_made = data_dir / "postgres/data.new/base"
    half_made.mkdir(parents=True)
    server = EmbeddedPostgres(data_dir)
    ask(server.start(), "CREATE TABLE kept AS SELECT 42 AS answer")
    server.stop()
    assert find(data_dir) is None
    server = EmbeddedPostgres(data_dir)
    assert ask(server.start(), "SELECT answer FROM kept") == 42
    assert ask(server.url, "SELECT setting FROM pg_settings WHERE name = 'synchronous_commit'") == "on"
    assert find(data_dir) == server.url
    server.stop()


def test_a_second_start_says_so_and_leaves_the_first_alone(server: EmbeddedPostgres) -> None:
    server.start()
    with pytest.raises(SetupFailed, match=rf"already runs on {server.data_dir} \(process {os.getpid()}\)"):
        EmbeddedPostgres(server.data_dir).start()
    assert ask(server.url, "SELECT 1") == 1


def test_killed_and_started_again_it_has_everything(server: EmbeddedPostgres) -> None:
    ask(server.start(), "CREATE TABLE survives AS SELECT 42 AS answer")
    os.kill(postmaster(server.data_dir), signal.SIGKILL)
    server.stop()
    assert (server.data_dir / "postgres/data/postmaster.pid").exists()
    assert ask(server.start(), "SELECT answer FROM survives") == 42


@pytest.mark.anyio
async def test_killed_in_mid_service_it_comes_back_by_itself(server: EmbeddedPostgres) -> None:
    server.start()
    first = postmaster(server.data_dir)
    keeping = asyncio.create_task(server.keep_alive())
    os.kill(first, signal.SIGKILL)
    async with asyncio.timeout(60):
        while find(server.data_dir) is None or postmaster(server.data_dir) == first:
            await asyncio.sleep(0.1)
    keeping.cancel()
    assert ask(server.url, "SELECT 1") == 1


def test_a_number_that_passed_to_another_process_does_not_stop_it(server: EmbeddedPostgres) -> None:
    stale = server.data_dir / "postgres/data/postmaster.pid"
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as innocent:
        stale.write_text(f"{innocent.pid}\n{stale.parent}\n1700000000\n5432\n{server.url}\n\n\nready\n")
        try:
            assert ask(server.start(), "SELECT 1") == 1
        finally:
            innocent.kill()


def test_a_server_whose_owner_was_killed_is_taken_over(server: EmbeddedPostgres) -> None:
    with subprocess.Popen([sys.executable, "-c", SERVE, str(server.data_dir)], stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"started\n"
        number = postmaster(server.data_dir)
        owner.kill()
    assert ask(server.start(), "SELECT 1") == 1
    assert postmaster(server.data_dir) == number
    server.stop()
    assert find(server.data_dir) is None
    assert not psutil.pid_exists(number) or psutil.Process(number).status() == psutil.STATUS_ZOMBIE


def test_a_path_too_long_for_a_socket(created: Path, data_dir: Path) -> None:
    deep = data_dir / ("x" * 60) / ("y" * 60)
    deep.mkdir(parents=True)
    subprocess.run(["cp", "-a", "postgres", deep], cwd=created, check=True)
    assert socket_folder(deep).parent != deep / "postgres"
    server = EmbeddedPostgres(deep)
    assert ask(server.start(), "SELECT 1") == 1
    server.stop()


def test_data_of_another_version_is_refused_with_advice(server: EmbeddedPostgres) -> None:
    version = server.data_dir / "postgres/data/PG_VERSION"
    ours = version.read_text()
    version.write_text("14\n")
    try:
        with pytest.raises(SetupFailed, match=r"another major version.*--database-url"):
            server.start()
    finally:
        version.write_text(ours)


def test_a_folder_that_cannot_be_used_is_named(data_dir: Path) -> None:
    (data_dir / "file").write_text("in the way")
    with pytest.raises(SetupFailed, match=rf"{data_dir}/file/data cannot be used.*--data-dir"):
        EmbeddedPostgres(data_dir / "file/data").start()
