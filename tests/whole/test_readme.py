"""The README, walked through as a stranger would: its commands, in their order, as they stand there.

Only what belongs to this machine is replaced: the data directory, and the port where 8000 is taken.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.whole.running import eventually, leftovers

ROOT = Path(__file__).parents[2]
KEY = re.compile(r"slk_\w+")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (ROOT / ".venv/.stamp").exists(), reason="scripts/setup has not run here"),
]


def steps() -> list[str]:
    return re.findall(r"^```sh\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)


def run(script: str, **more: str) -> str:
    done = subprocess.run(
        ["sh", "-euc", script], cwd=ROOT, env={**os.environ, **more}, capture_output=True, text=True, timeout=240, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def free_port() -> int:
    for wanted in (8000, 0):
        try:
            with socket.create_server(("127.0.0.1", wanted)) as tried:
                return int(tried.getsockname()[1])
        except OSError:
            continue
    raise AssertionError


@contextmanager
def in_the_background(script: str, data: Path, port: int) -> Iterator[tuple[str, str]]:
    """What it prints once it answers, and its address. Ctrl-C at the end."""
    said, told = data.with_suffix(".out"), {**os.environ, "SAFELIGHT_DATA_DIR": str(data), "SAFELIGHT_PORT": str(port)}
    with said.open("wb") as out:
        server = subprocess.Popen(
            ["sh", "-c", f"exec {script}"], cwd=ROOT, env=told, stdout=out, stderr=subprocess.DEVNULL
        )
    try:
        eventually(lambda: KEY.search(said.read_text()), 240, "a key")
        yield said.read_text(), f"http://127.0.0.1:{port}"
    finally:
        server.send_signal(signal.SIGINT)
        assert server.wait(90) == 0
    assert leftovers(data) == []


def test_a_stranger_walks_through_the_readme(data: Path) -> None:
    demo, serve, curl = steps()
    shown = run(demo)
    (both,) = re.findall(r"input and output +(\S+)", shown)
    with Image.open(both) as shown_both:
        assert shown_both.width > shown_both.height
    with in_the_background(serve.strip(), data, free_port()) as (said, address):
        (key,) = set(KEY.findall(said))
        reply = json.loads(run(curl.replace("http://127.0.0.1:8000", address), KEY=key))
        if reply["status"] == "processing":
            reply = eventually(lambda: fetched(reply["fetch_result"], key), 120, "the picture")
        assert reply["output"][0].startswith(f"{address}/")
        picture = httpx.get(reply["output"][0])
    assert picture.headers["content-type"] == "image/png"


def fetched(address: str, key: str) -> dict[str, Any] | None:
    reply: dict[str, Any] = httpx.post(address, json={"key": key}, timeout=30).json()
    return reply if reply["status"] == "success" else None
