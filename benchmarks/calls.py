"""A thousand small calls a second: `system_load`, `fetch` and `delete_image` against a real server, idle and while it makes pictures.

Beside them, from the same generator on the same machine, a FastAPI route that does nothing: how far from it the calls are.

Run: python -m benchmarks.calls --out run/calls.json
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import io
import json
import multiprocessing
import os
import socket
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from itertools import count, cycle, islice
from pathlib import Path
from typing import TypeVar, cast
from urllib.parse import urlsplit

import httpx
import psutil
from PIL import Image
from uvicorn.loops.auto import auto_loop_factory

from benchmarks.load import PHOTO, Server, served, share

CONNECTIONS = 32
ONE_DELETE_IN = 10  # of the calls of all three kinds
ALONE = 300  # deletes where nothing else is called
PICTURES = 20  # that are fetched in turn
NAMES = ("system_load", "fetch", "delete_image")
DRAWING = {"width": 512, "height": 512, "num_inference_steps": 20, "strength": 0.7, "safety_checker": "no"}


Found = TypeVar("Found")


@dataclass
class Heard:
    """What a burst of calls came to. Seconds count from when a call was due, so that a server that falls behind cannot hide it."""

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    took: float = 0.0
    spent: dict[str, float] = field(default_factory=dict)  # seconds of processor time, by who spent them

    def figures(self) -> dict[str, object]:
        calls = len(self.seconds)
        milliseconds = {f"p{part:g}": round(share(self.seconds, part / 100) * 1000, 1) for part in (50, 95, 99)}
        spent = {f"{who}'s ms of processor a call": round(each / calls * 1000, 2) for who, each in self.spent.items()}
        rate = round(calls / self.took)
        return {"calls": calls, "a second": rate, **milliseconds, **spent, "statuses": dict(self.statuses)}


class Line(asyncio.Protocol):
    """One kept-alive connection: a request, its answer, and word to whoever waits that it is free again."""

    def __init__(self, free: Callable[[Line], None], heard: Heard) -> None:
        self._free, self._heard = free, heard
        self._got, self._due = b"", 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's own is none by its class

    def ask(self, request: bytes, due: float) -> None:
        self._got, self._due = b"", due
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._got += data
        head, found, body = self._got.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        if found and len(body) >= int(length):
            self._heard.statuses[int(head[9:12])] += 1
            self._heard.seconds.append(time.perf_counter() - self._due)
            self._free(self)


def spent_by(pid: int) -> dict[str, dict[int, float]]:
    """Seconds of processor time so far, of a server and of its database's processes: they tell what a call costs on a busy machine too."""
    server = psutil.Process(pid)
    database = [child for child in server.children(recursive=True) if "postgres" in child.name()]
    return {
        who: {one.pid: _seconds(one) for one in these}
        for who, these in {"server": [server], "database": database}.items()
    }


def since(before: dict[str, dict[int, float]], now: dict[str, dict[int, float]]) -> dict[str, float]:
    """By those that are still there."""
    return {who: sum(each - before[who].get(pid, 0.0) for pid, each in now[who].items()) for who in now}


def _seconds(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.Error:  # a connection that ended meanwhile
        return 0.0
    return float(times.user + times.system)


async def burst(url: str, pid: int, requests: Iterable[bytes], seconds: float, rate: float | None) -> Heard:
    """``rate`` calls a second whatever the answers take, or as many as ``CONNECTIONS`` callers get through."""
    heard, idle, before = Heard(), deque[Line](), spent_by(pid)
    place = _place(url)
    turn = asyncio.Event()

    def free(line: Line) -> None:
        idle.append(line)
        turn.set()

    loop, asked = asyncio.get_running_loop(), 0
    lines = [(await loop.create_connection(lambda: Line(free, heard), *place))[1] for _ in range(CONNECTIONS)]
    idle.extend(lines)
    began = time.perf_counter()
    for request in requests:
        due = began + asked / rate if rate else time.perf_counter()
        if due > began + seconds:
            break
        await asyncio.sleep(max(0.0, due - time.perf_counter()) if rate else 0)
        while not idle:
            turn.clear()
            await turn.wait()
        idle.popleft().ask(request, due)
        asked += 1
    async with asyncio.timeout(600):
        while len(heard.seconds) < asked:
            turn.clear()
            await turn.wait()
    heard.took = time.perf_counter() - began
    heard.spent = since(before, spent_by(pid))
    for line in lines:
        line.transport.close()
    return heard


def _place(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    return parts.hostname, parts.port


def request(url: str, path: str, **body: object) -> bytes:
    content = json.dumps(body).encode()
    host, length = urlsplit(url).netloc, len(content)
    lines = (f"POST {path} HTTP/1.1", f"Host: {host}", "Content-Type: application/json", f"Content-Length: {length}")
    head = "\r\n".join((*lines, "", ""))
    return head.encode() + content


def _serve_nothing(listener: socket.socket) -> None:
    import uvicorn
    from fastapi import FastAPI

    app = FastAPI()

    @app.post("/")
    async def nothing() -> dict[str, str]:
        return {"status": "ok"}

    uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False)).run(sockets=[listener])


@contextmanager
def nothing_served() -> Iterator[tuple[str, int]]:
    """A FastAPI route that reads nothing and asks nobody, in a process of its own."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        process = multiprocessing.get_context("fork").Process(target=_serve_nothing, args=(listener,))
        process.start()
        try:
            assert process.pid
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", process.pid
        finally:
            process.terminate()
            process.join(30)


async def uploads(server: Server, count: int) -> list[int]:
    """Ids of small pictures that are kept on the server."""
    drawn = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(drawn, "PNG")
    body = {"key": server.key, "crop": "false", "image": base64.b64encode(drawn.getvalue()).decode()}
    ids: list[int] = []
    async with httpx.AsyncClient(base_url=server.url, timeout=120) as client:

        async def upload() -> None:
            while len(ids) < count:
                ids.append(
                    (await client.post("/api/v3/base64_crop", json=body)).raise_for_status().json()["request_id"]
                )

        await asyncio.gather(*(upload() for _ in range(8)))
    return ids


@asynccontextmanager
async def drawing(server: Server, callers: int) -> AsyncIterator[list[float]]:
    """Meanwhile so many callers have one picture after the other made; when each was done."""
    done: list[float] = []
    begun = asyncio.Event()
    body = {"key": server.key, "prompt": "a red apple", "init_image": base64.b64encode(PHOTO.read_bytes()).decode()}

    async def draw() -> None:
        async with httpx.AsyncClient(base_url=server.url, timeout=120) as client:
            while True:
                told = (await client.post("/api/v3/img2img", json={**body, **DRAWING})).json()
                assert told["status"] == "success", told
                done.append(time.perf_counter())
                begun.set()

    tasks = [asyncio.create_task(draw()) for _ in range(callers)]
    if callers:
        await begun.wait()
    yield done
    for task in tasks:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


class Calls:
    """The three calls, ready to be sent, one after the other."""

    def __init__(self, server: Server, pictures: Sequence[int], doomed: list[int]) -> None:
        self._url, self._key = server.url, server.key
        self._load = self._of("v3/system_load")
        self._fetches = [self._of("v3/fetch", request_id=picture) for picture in pictures]
        self._doomed = doomed

    def _of(self, path: str, **body: object) -> bytes:
        return request(self._url, f"/api/{path}", key=self._key, **body)

    def only(self, name: str) -> Iterable[bytes]:
        read = {"system_load": [self._load], "fetch": self._fetches}.get(name)
        return cycle(read) if read else islice(self.deletes(), ALONE)

    def deletes(self) -> Iterator[bytes]:
        while self._doomed:
            yield self._of("v3/delete_image", request_id=self._doomed.pop())

    def mixed(self) -> Iterator[bytes]:
        """Half asks for the load, half fetches, and some delete, each another picture."""
        fetches, deletes = cycle(self._fetches), self.deletes()
        for number in count():
            if number % ONE_DELETE_IN == 0:
                yield next(deletes, self._load)
            else:
                yield next(fetches) if number % 2 else self._load


async def measure(server: Server, seconds: float, rates: list[float], callers: int) -> dict[str, object]:
    doomed = await uploads(server, int(2 * (sum(rates) * seconds / ONE_DELETE_IN + ALONE)) + 10)
    calls, found = Calls(server, await pictures(server, PICTURES), doomed), dict[str, object]()
    for beside, busy in (("idle", 0), ("beside generation", callers)):
        async with drawing(server, busy) as done:
            before = len(done)
            began = time.perf_counter()
            for name in NAMES:
                heard = await burst(server.url, server.pid, calls.only(name), seconds, None)
                found[f"{name}, {beside}, as fast as it goes"] = heard.figures()
            for rate in rates:
                heard = await burst(server.url, server.pid, calls.mixed(), seconds, rate)
                found[f"all three, {beside}, {rate:g} a second due"] = heard.figures()
            if busy:
                found["pictures a second meanwhile"] = round((len(done) - before) / (time.perf_counter() - began), 2)
    return found


async def pictures(server: Server, number: int) -> list[int]:
    """Ids of small pictures that were made there."""
    body = {"key": server.key, "prompt": "a red apple", "width": 128, "height": 128, "num_inference_steps": 4}
    async with httpx.AsyncClient(base_url=server.url, timeout=120) as client:
        told = [(await client.post("/api/v3/text2img", json={**body, "seed": seed})).json() for seed in range(number)]
    assert all(each["status"] == "success" for each in told), told
    return [int(each["id"]) for each in told]


async def floor(url: str, pid: int, seconds: float, rates: list[float]) -> dict[str, object]:
    empty = request(url, "/", key="none")
    found: dict[str, object] = {
        "empty FastAPI route, as fast as it goes": (await burst(url, pid, cycle([empty]), seconds, None)).figures()
    }
    for rate in rates:
        found[f"empty FastAPI route, {rate:g} a second due"] = (
            await burst(url, pid, cycle([empty]), seconds, rate)
        ).figures()
    return found


def run(work: Coroutine[None, None, Found]) -> Found:
    """The generator has the same two cores as the server: it must not cost more than it has to."""
    with asyncio.Runner(loop_factory=auto_loop_factory()) as runner:
        return runner.run(work)


def main() -> None:
    read = argparse.ArgumentParser(description=__doc__)
    read.add_argument("--seconds", type=float, default=10.0)
    read.add_argument("--rates", type=float, nargs="+", default=[200.0, 500.0, 1000.0])
    read.add_argument("--callers", type=int, default=2)
    read.add_argument("--out", type=Path, default=Path("run/calls.json"))
    given = read.parse_args()
    given.out.parent.mkdir(parents=True, exist_ok=True)
    load = round(os.getloadavg()[0], 1)
    with nothing_served() as (url, pid):
        time.sleep(3)
        found = run(floor(url, pid, given.seconds, given.rates))
    with served(given.out.with_suffix(".log")) as server:
        found |= run(measure(server, given.seconds, given.rates, given.callers))
    found["load average of the machine before"] = load
    given.out.write_text(json.dumps(found, indent=1))
    for name, value in found.items():
        print(f"| {name} | {value} |")


if __name__ == "__main__":
    main()
