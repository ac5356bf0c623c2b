"""Five hundred who listen while fifty jobs run: does everyone hear the end once, and what does it cost in memory and connections.

Run: python -m benchmarks.listeners --out run/listeners.json
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil

from benchmarks.load import Findings, Server, served, share, weigh

ENDS = ("done", "failed", "erased")


@dataclass
class Heard:
    """What all listeners together were told."""

    answers: Counter[str] = field(default_factory=Counter)  # by status
    events: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)  # how often each listener heard an end
    previews: int = 0
    steps: list[int] = field(default_factory=list)  # by listener
    backends: list[int] = field(default_factory=list)
    idle: list[asyncio.StreamWriter] = field(default_factory=list)  # kept open


async def listen(server: Server, job: int, previews: bool, heard: Heard, reads: bool) -> None:
    """Over a socket of its own, so that the listeners cost this process little."""
    place = urlsplit(server.url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port, limit=2**20)
    query = "?previews=1" if previews else ""
    head = f"GET /v1/jobs/{job}/events{query} HTTP/1.1\r\nHost: {place.netloc}\r\nkey: {server.key}\r\n\r\n"
    writer.write(head.encode())
    if not reads:
        heard.idle.append(writer)
        return
    heard.answers[(await reader.readline()).decode().split(" ")[1]] += 1
    steps, ends = 0, 0
    while not ends and (line := await reader.readline()):
        name = line.decode().removeprefix("event: ").strip() if line.startswith(b"event: ") else ""
        if name:
            heard.events[name] += 1
            steps += name == "step"
            ends += name in ENDS
        heard.previews += b'"preview"' in line
    while rest := await reader.read(2**16):
        ends += sum(rest.count(f"event: {name}".encode()) for name in ENDS)
        if rest.endswith(b"0\r\n\r\n"):
            break
    heard.ends[str(ends)] += 1
    heard.steps.append(steps)
    writer.close()


async def count_backends(pid: int, heard: Heard) -> None:
    while True:
        children = psutil.Process(pid).children(recursive=True)
        heard.backends.append(sum("postgres: safelight" in " ".join(_words(child)) for child in children))
        await asyncio.sleep(0.5)


def _words(process: psutil.Process) -> list[str]:
    try:
        words: list[str] = process.cmdline()
    except psutil.Error:
        return []
    return words


async def storm(
    server: Server, jobs: int, each: int, lazy: int, wanted: dict[str, Any]
) -> tuple[Heard, Findings, float]:
    heard, found = Heard(), Findings()
    watching = [
        asyncio.create_task(weigh(server.pid, found)),
        asyncio.create_task(count_backends(server.pid, heard)),
    ]
    await asyncio.sleep(2)
    began = time.perf_counter()
    async with httpx.AsyncClient(base_url=server.url, timeout=120) as client:
        listening = []
        for seed in range(jobs):
            reply = await client.post("/api/v3/text2img", json={"key": server.key, "seed": seed, **wanted})
            job = int(reply.json()["id"])
            crowd = [listen(server, job, number % 2 == 0, heard, True) for number in range(each)]
            listening += [asyncio.create_task(one) for one in crowd]
        idle = [listen(server, job, True, heard, False) for _ in range(lazy)]
        await asyncio.gather(*listening, *idle)
    took = time.perf_counter() - began
    for task in watching:
        task.cancel()
    return heard, found, took


def summary(heard: Heard, found: Findings, took: float) -> dict[str, object]:
    memory = [size / 2**20 for size in found.resident["server"]]
    return {
        "from the first job to the last end, s": round(took, 1),
        "answers by status": dict(heard.answers),
        "listeners by how many ends they heard": dict(heard.ends),
        **{f"events: {name}": count for name, count in sorted(heard.events.items())},
        "events with a preview": heard.previews,
        "steps heard by one listener, p5": share([float(steps) for steps in heard.steps], 0.05),
        "steps heard by one listener, p50": share([float(steps) for steps in heard.steps], 0.5),
        "server memory at first, MiB": round(memory[0]),
        "server memory at most, MiB": round(max(memory)),
        "database connections at first": heard.backends[0],
        "database connections at most": max(heard.backends),
    }


def main() -> None:
    read = argparse.ArgumentParser(description=__doc__)
    read.add_argument("--jobs", type=int, default=50)
    read.add_argument("--each", type=int, default=10, help="listeners of each job; every second one asks for previews")
    read.add_argument("--lazy", type=int, default=10, help="more of them, that never read")
    read.add_argument("--size", type=int, default=256)
    read.add_argument("--steps", type=int, default=20)
    read.add_argument("--out", type=Path, default=Path("run/listeners.json"))
    given = read.parse_args()
    given.out.parent.mkdir(parents=True, exist_ok=True)
    os.environ["SAFELIGHT_CONNECTIONS_PER_ADDRESS"] = str(given.jobs * given.each + given.lazy + 100)
    wanted = {
        "prompt": "a red apple", "width": given.size, "height": given.size, "num_inference_steps": given.steps,
        "safety_checker": "no", "enhance_prompt": "no", "instant_response": "yes",
    }  # fmt: skip
    load = os.getloadavg()[0]
    with served(given.out.with_suffix(".log")) as server:
        heard, found, took = asyncio.run(storm(server, given.jobs, given.each, given.lazy, wanted))
    figures = {
        "jobs": given.jobs,
        "listeners that read": given.jobs * given.each,
        "listeners that do not": given.lazy,
        **summary(heard, found, took),
        "load average of the machine before": round(load, 1),
    }
    given.out.write_text(json.dumps(figures, indent=1))
    print("| measured | |\n|---|---|\n" + "\n".join(f"| {name} | {value} |" for name, value in figures.items()))


if __name__ == "__main__":
    main()
