"""A real ``safelight serve`` in a process of its own, and what a test wants to know of it and do to it from outside."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import pytest

from safelight import logs
from safelight.cli import main
from safelight.storage import postgres

SAFELIGHT = (sys.executable, "-m", "safelight")
START_SECONDS = 240.0
QUICK = {"SAFELIGHT_HEARTBEAT_SECONDS": "0.5", "SAFELIGHT_STALLED_SECONDS": "5"}

Json = dict[str, Any]


@dataclass
class Running:
    """One server over one data directory."""

    process: subprocess.Popen[bytes]
    data: Path
    log: Path
    url: str
    key: str

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.url + path, timeout=60)

    def post(self, path: str, **body: Any) -> Json:
        reply: Json = self.answer(path, **body).json()
        return reply

    def answer(self, path: str, **body: Any) -> httpx.Response:
        return httpx.post(f"{self.url}/api/{path}", json={"key": self.key} | body, timeout=90)

    def draw(self, operation: str = "text2img", **body: Any) -> Json:
        """The final reply about a small picture of the random model."""
        wanted = {"prompt": "a cat", "width": 64, "height": 64, "num_inference_steps": 4, "seed": 1}
        reply = self.post(f"v3/{operation}", **wanted | {"safety_checker": "no", "enhance_prompt": "no"} | body)
        return self.ended(reply)

    def ended(self, reply: Json) -> Json:
        """What it became, where this machine was too slow to answer with the picture."""
        return reply | self.fetched(reply["id"]) if reply["status"] == "processing" else reply

    def begin(self, **body: Any) -> int:
        """Accepted, not waited for: the id of a job that takes a while."""
        wanted = {"prompt": "a cat", "width": 64, "height": 64, "num_inference_steps": 51, "safety_checker": "no"}
        return int(self.post("v6/images/text2img", **wanted | {"instant_response": "yes"} | body)["id"])

    def picture(self, reply: Json, number: int = 0) -> bytes:
        assert reply["status"] == "success", reply
        return httpx.get(reply["output"][number], timeout=60).raise_for_status().content

    def fetched(self, job: int, seconds: float = 240.0) -> Json:
        """The job's final reply."""
        ended: Json = eventually(lambda: self._final(job), seconds, f"job {job} to end")
        return ended

    def _final(self, job: int) -> Json | None:
        reply = self.post("v3/fetch", request_id=job)
        return reply if reply["status"] in ("success", "failed") else None

    def wait_ready(self, seconds: float = START_SECONDS) -> None:
        eventually(lambda: self.get("/readyz").status_code == 200 and self.worker(), seconds, "readiness")

    def worker(self) -> psutil.Process | None:
        """The worker process that is alive now."""
        children = psutil.Process(self.process.pid).children()
        return next((child for child in children if "worker" in _words(child)), None)

    def the_worker(self) -> psutil.Process:
        found = self.worker()
        assert found is not None
        return found

    def postmaster(self) -> psutil.Process:
        return psutil.Process(int((self.data / "postgres/data/postmaster.pid").read_text().splitlines()[0]))

    def stop(self, how: int = signal.SIGTERM, seconds: float = 75.0) -> int:
        self.process.send_signal(how)
        return self.process.wait(seconds)

    def lines(self) -> list[Json]:
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(postgres.url_of(postgres.socket_folder(self.data))) as connection:
            return connection.execute(query.encode()).fetchall()


def environment(data: Path, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SAFELIGHT_")}
    return {**kept, "SAFELIGHT_DATA_DIR": str(data), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", **more}


def command(data: Path, *words: str, seconds: float = 240.0, **more: str) -> subprocess.CompletedProcess[str]:
    """One ``safelight`` command, run to its end."""
    told = environment(data, COLUMNS="200", **more)
    return subprocess.run([*SAFELIGHT, *words], env=told, capture_output=True, text=True, timeout=seconds, check=False)


def typed(data: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    """The same within this process, which need not load everything first. Its logs stay as they are."""
    said, complained, status = io.StringIO(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as here, redirect_stdout(said), redirect_stderr(complained):
        for name in [name for name in os.environ if name.startswith("SAFELIGHT_")]:
            here.delenv(name)
        for name, value in environment(data, COLUMNS="200", **more).items():
            here.setenv(name, value)
        here.setattr(sys, "argv", ["safelight", *words])
        here.setattr(logs, "set_up", lambda _: None)
        try:
            main()
        except SystemExit as ended:
            status = int(ended.code or 0)
    return subprocess.CompletedProcess(words, status, said.getvalue(), complained.getvalue())


def start(data: Path, *words: str, key: str = "", **more: str) -> Running:
    """Returns once it is announced; the worker may still be loading."""
    said, log = data.with_suffix(".out"), data.with_suffix(".log")
    with said.open("wb") as output, log.open("ab") as errors:
        process = subprocess.Popen(
            [*SAFELIGHT, "serve", "--port", "0", "--json", *words], env=environment(data, **more), stdout=output, stderr=errors
        )  # fmt: skip
    try:
        eventually(lambda: said.read_text().endswith("\n") or process.poll() is not None, START_SECONDS, "a start")
        assert process.poll() is None, log.read_text()[-3000:]
    except BaseException:
        process.kill()
        raise
    first = json.loads(said.read_text())
    return Running(process, data, log, first["url"], first["key"] or key)


@contextmanager
def serving(data: Path, *words: str, key: str = "", **more: str) -> Iterator[Running]:
    """Whatever the test did to it, nothing of it is left afterwards."""
    server = start(data, *words, key=key, **more)
    try:
        yield server
    finally:
        clear_away(server)


def clear_away(server: Running) -> None:
    """Cleanly where it still lives; the orphans of one that was killed are killed too."""
    if server.process.poll() is None:
        try:
            server.stop()
        except subprocess.TimeoutExpired:
            server.process.kill()
            server.process.wait()
    for process in leftovers(server.data):
        process.kill()
        process.wait(60)


def leftovers(data: Path) -> list[psutil.Process]:
    """Processes of ours that still work on ``data``: a worker by its environment, a database by its command."""
    return [process for process in psutil.process_iter() if _belongs(process, data)]


def _belongs(process: psutil.Process, data: Path) -> bool:
    try:
        if f"{data}/postgres/data" in _words(process):
            return True
        ours = "safelight" in _words(process) and "worker" in _words(process)
        return ours and process.environ().get("SAFELIGHT_DATA_DIR") == str(data)
    except psutil.Error:
        return False


def _words(process: psutil.Process) -> list[str]:
    try:
        words: list[str] = process.cmdline()
        return words
    except psutil.Error:
        return []


def eventually(ask: Callable[[], Any], seconds: float, what: str) -> Any:
    """The first answer that is not empty. A server that does not answer yet counts as empty."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            if found := ask():
                return found
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"waited {seconds:.0f} s in vain for {what}")
