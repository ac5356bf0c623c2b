"""Two hundred img2img calls at once against a real server: what each is answered, whether others are still heard, what it costs.

Run: python -m benchmarks.load --out run/load.json
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

PHOTO = Path(__file__).resolve().parent.parent / "src/safelight/samples/photo.jpg"
SAFELIGHT = (sys.executable, "-m", "safelight")
SERVE = (*SAFELIGHT, "serve", "--port", "0", "--json")


@dataclass(frozen=True)
class Server:
    pid: int
    url: str
    key: str
    data: str

    def stranger(self, name: str = "stranger") -> str:
        """The key of another account."""
        words = (*SAFELIGHT, "keys", "create", name, "--data-dir", self.data, "--json")
        told = subprocess.run(words, check=True, capture_output=True, text=True)  # noqa: S603
        return str(json.loads(told.stdout)["key"])


@dataclass
class Findings:
    """Everything that was measured, raw."""

    answers: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)  # from the call to the final reply, of those that were drawn
    refusals: list[float] = field(default_factory=list)
    probes: list[float] = field(default_factory=list)
    resident: dict[str, list[int]] = field(default_factory=lambda: {"server": [], "worker": [], "postgres": []})


@contextmanager
def served(log: Path) -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="safelight-load-") as folder, log.open("wb") as errors:
        told = {**os.environ, "SAFELIGHT_DATA_DIR": f"{folder}/d"}
        process = subprocess.Popen(SERVE, env=told, stdout=subprocess.PIPE, stderr=errors, text=True)  # noqa: S603
        try:
            assert process.stdout is not None
            first = json.loads(process.stdout.readline())
            while httpx.get(f"{first['url']}/readyz").status_code != 200:
                time.sleep(0.5)
            yield Server(process.pid, first["url"], first["key"], f"{folder}/d")
        finally:
            process.terminate()
            process.wait(120)


async def ask(client: httpx.AsyncClient, body: dict[str, Any], found: Findings) -> None:
    began = time.perf_counter()
    reply = await client.post("/api/v3/img2img", json=body)
    if reply.status_code == 429:
        found.answers["429 with Retry-After" if int(reply.headers["retry-after"]) > 0 else "429 without"] += 1
        found.refusals.append(time.perf_counter() - began)
        return
    told = reply.json()
    number = told.get("id")
    while told["status"] == "processing":
        await asyncio.sleep(1.0)
        told = (await client.post(f"/api/v3/fetch/{number}", json={"key": body["key"]})).json()
    found.answers[told["status"]] += 1
    if told["status"] == "success":
        picture = await client.get(told["output"][0])
        assert picture.content.startswith(b"\x89PNG")
        found.seconds.append(time.perf_counter() - began)


async def probe(url: str, key: str, found: Findings) -> None:
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        while True:
            began = time.perf_counter()
            reply = await client.post("/api/v3/system_load", json={"key": key})
            assert reply.status_code == 200, reply.text
            found.probes.append(time.perf_counter() - began)
            await asyncio.sleep(0.25)


async def weigh(pid: int, found: Findings) -> None:
    while True:
        for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
            try:
                words = " ".join(process.cmdline())
                kind = "server" if process.pid == pid else "worker" if "safelight worker" in words else "postgres"
                if kind != "postgres" or "-D" in words:
                    found.resident[kind].append(process.memory_info().rss)
            except psutil.Error:
                continue
        await asyncio.sleep(0.5)


async def storm(server: Server, calls: int, wanted: dict[str, Any]) -> tuple[Findings, float]:
    found, photo = Findings(), base64.b64encode(PHOTO.read_bytes()).decode()
    body = {"key": server.key, "init_image": photo, **wanted}
    watchers = [
        asyncio.create_task(probe(server.url, server.key, found)),
        asyncio.create_task(weigh(server.pid, found)),
    ]
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=server.url, timeout=120, limits=limits) as client:
        began = time.perf_counter()
        await asyncio.gather(*(ask(client, {**body, "seed": seed}, found) for seed in range(calls)))
        took = time.perf_counter() - began
    for watcher in watchers:
        if watcher.done():
            watcher.result()
        watcher.cancel()
    return found, took


def share(values: list[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * part), len(ordered) - 1)] if ordered else 0.0


def summary(found: Findings, took: float, load: float) -> dict[str, float | int]:
    mib = {kind: [size / 2**20 for size in sizes] or [0.0] for kind, sizes in found.resident.items()}
    return {
        **{f"answered: {name}": count for name, count in sorted(found.answers.items())},
        "whole storm, s": round(took, 1),
        "pictures per second": round(len(found.seconds) / took, 2),
        "call to picture p50, s": round(share(found.seconds, 0.5), 1),
        "call to picture p95, s": round(share(found.seconds, 0.95), 1),
        "429 p95, s": round(share(found.refusals, 0.95), 2),
        "system_load calls": len(found.probes),
        "system_load p50, ms": round(share(found.probes, 0.5) * 1000),
        "system_load p95, ms": round(share(found.probes, 0.95) * 1000),
        "system_load max, ms": round(max(found.probes, default=0) * 1000),
        **{f"{kind} memory at first, MiB": round(sizes[0]) for kind, sizes in mib.items() if kind != "postgres"},
        **{f"{kind} memory at most, MiB": round(max(sizes)) for kind, sizes in mib.items() if kind != "postgres"},
        "load average of the machine before": round(load, 1),
    }


def main() -> None:
    read = argparse.ArgumentParser(description=__doc__)
    read.add_argument("--calls", type=int, default=200)
    read.add_argument("--size", type=int, default=512)
    read.add_argument("--steps", type=int, default=20)
    read.add_argument("--out", type=Path, default=Path("run/load.json"))
    given = read.parse_args()
    given.out.parent.mkdir(parents=True, exist_ok=True)
    wanted = {
        "prompt": "a red apple", "width": given.size, "height": given.size, "num_inference_steps": given.steps,
        "strength": 0.7, "safety_checker": "no", "enhance_prompt": "no",
    }  # fmt: skip
    load = os.getloadavg()[0]
    with served(given.out.with_suffix(".log")) as server:
        found, took = asyncio.run(storm(server, given.calls, wanted))
    figures = {"calls": given.calls, "size": given.size, "steps": given.steps, **summary(found, took, load)}
    given.out.write_text(json.dumps(figures, indent=1))
    print("| measured | |\n|---|---|\n" + "\n".join(f"| {name} | {value} |" for name, value in figures.items()))


if __name__ == "__main__":
    main()
