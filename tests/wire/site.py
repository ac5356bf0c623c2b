"""A whole Safelight in a thread of this process: the real services and worker on a real database, uvicorn on a free port.

Only the engine is another one: the analytic one of ``tests/engines.py``. Tests speak to it from outside, as callers do.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import socket
import threading
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psycopg
import pytest
import torch
import uvicorn
from psycopg.sql import SQL, Identifier

from safelight.app import make_serving
from safelight.engine.captioners import captioning
from safelight.engine.finders import finding
from safelight.engine.generation import Generation
from safelight.engine.upscaling import UpscalingRoom
from safelight.errors import Unavailable
from safelight.ground import opened, prepare
from safelight.service.additions import Shown
from safelight.service.makers.caption import Caption
from safelight.service.makers.cut_out import CutOut
from safelight.service.makers.generate import Generate, Lightbox
from safelight.service.makers.install import Install
from safelight.service.makers.judge import Judge
from safelight.service.makers.maker import Maker
from safelight.service.makers.upscale import Upscale
from safelight.service.outbound import Outbound
from safelight.service.services import Services
from safelight.service.stock import Stock
from safelight.service.worker import Worker
from safelight.settings import Settings
from safelight.storage.queue import WEBHOOKS, Queue
from safelight.wire.connection import connection_class
from safelight.wire.server import create
from tests.engines import AnalyticEngine, decode, encode, redness, sketch
from tests.service.pictures import still

T = TypeVar("T")
Json = dict[str, Any]

COUNTED = ("jobs", "requests", "assets", "outbox", "receipts", "procrastinate_jobs")
OURS = SQL("to_jsonb(t)->>'queue_name' IS DISTINCT FROM 'webhooks'")  # one that nobody takes is tried again by itself
BUSY = """
    SELECT 1 FROM jobs WHERE state IN ('queued', 'running')
    UNION ALL SELECT 1 FROM assets WHERE state = 'pending'
    UNION ALL SELECT 1 FROM procrastinate_jobs WHERE status = 'doing'
"""
PHOTO = "data:image/png;base64," + base64.b64encode(still()).decode()
DEFAULT_MODEL = "plain"
SAID = "a canary on a bench"  # of every picture, where a server has a captioner
_numbers = count(1)


class NoShelf:
    """Loads nothing, and knows what it was shown: the files by their names, and which of them it was to load."""

    def __init__(self) -> None:
        self.shown: dict[str, Path] = {}
        self.loaded: list[str | None] = []

    def add(self, name: str, path: Path) -> None:
        self.shown[name] = path

    add_lora = add_controlnet = add_embedding = add_vae = add

    def get(self, name: str | None) -> None:
        self.loaded.append(name)

    def remove(self, name: str) -> None:
        self.shown.pop(name, None)


@dataclass(eq=False)
class Site:
    """The running server, and what a test may do around it."""

    settings: Settings
    services: Services
    engine: AnalyticEngine
    shelf: NoShelf
    loop: asyncio.AbstractEventLoop
    ready: bool = True
    http: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        self.http = httpx.Client(base_url=self.settings.base_url, timeout=90)

    def ask(self, work: Coroutine[Any, Any, T]) -> T:
        """What the services answer, asked from outside of their loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(120)

    def key(self) -> str:
        """The key of a new account."""
        return self.ask(self.services.accounts.create_key(f"account {next(_numbers)}"))[1]

    def operator_key(self) -> str:
        return self.ask(self.services.accounts.create_key(f"account {next(_numbers)}", operator=True))[1]

    def post(self, path: str, key: str, **fields: object) -> httpx.Response:
        return self.http.post(f"/api/{path}", json={"key": key, **fields})

    def img2img(self, key: str, **fields: object) -> httpx.Response:
        given: Json = {"prompt": "a cat", "init_image": PHOTO, "width": 64, "height": 64, "num_inference_steps": 4}
        return self.post("v3/img2img", key, **given | fields)

    def made(self, key: str, **fields: object) -> Json:
        """The reply to a generation that ended well."""
        reply = self.img2img(key, **fields)
        body: Json = reply.json()
        assert (reply.status_code, body["status"]) == (200, "success"), body
        return body

    def held_back(self, key: str, **fields: object) -> Json:
        """The reply to a generation that is still being made. Use inside ``closed_gate``."""
        body: Json = self.img2img(key, instant_response="yes", **fields).json()
        assert body["status"] == "processing", body
        return body

    @contextmanager
    def closed_gate(self) -> Iterator[None]:
        """Meanwhile no generation is finished."""
        self.engine.gate.clear()
        try:
            yield
        finally:
            self.engine.gate.set()

    def holdings(self) -> dict[str, int]:
        """How many rows each table has, and how many files there are, once nothing is under way any more."""
        assert self.settings.database_url
        counts = SQL(", ").join(
            SQL("(SELECT count(*) FROM {} t WHERE {})").format(Identifier(table), OURS) for table in COUNTED
        )
        with psycopg.connect(self.settings.database_url, autocommit=True) as connection:
            while connection.execute(BUSY).fetchone() is not None:
                time.sleep(0.05)
            row = connection.execute(SQL("SELECT {}").format(counts)).fetchone()
        assert row
        files = sum(path.is_file() for path in (self.settings.data_dir / "blobs").rglob("*"))
        return dict(zip((*COUNTED, "files"), (*row, files), strict=True))


def heard(site: Site, monkeypatch: pytest.MonkeyPatch) -> list[Generation]:
    """What the engine is asked for from now on."""
    told: list[Generation] = []
    submit = site.engine.submit

    def listen(generation: Generation, *more: Any) -> Any:
        told.append(generation)
        return submit(generation, *more)

    monkeypatch.setattr(site.engine, "submit", listen)
    return told


def enhance(prompt: str) -> str:
    return f"{prompt}, sharp focus"


@contextmanager
def open_site(settings: Settings) -> Iterator[Site]:
    """With its own thread and loop, so that clients which block can be run against it."""
    opened: list[Site] = []
    told = threading.Event()
    halt: list[asyncio.Event] = []

    async def live() -> None:
        halt.append(asyncio.Event())
        try:
            async with _running(settings) as site:
                opened.append(site)
                told.set()
                await halt[0].wait()
        finally:
            told.set()

    thread = threading.Thread(target=lambda: asyncio.run(live()), name="site")
    thread.start()
    told.wait(300)
    assert opened, "the site did not open"
    try:
        yield opened[0]
    finally:
        opened[0].http.close()
        opened[0].loop.call_soon_threadsafe(halt[0].set)
        thread.join(120)


@asynccontextmanager
async def _running(settings: Settings) -> AsyncIterator[Site]:
    with _listener() as listener:
        settings = settings.model_copy(update={"port": listener.getsockname()[1]})
        assert settings.database_url
        engine, shelf, ground = AnalyticEngine(), NoShelf(), prepare(settings, settings.database_url)
        services = replace(make_serving(ground).services, enhance=enhance)
        lightbox = Lightbox(decode=decode, encode=encode, nsfw=redness, sketch=sketch)
        stock = Stock(ground.database, ground.blobs, ground.vault, shelf, settings.data_dir, ())
        generate = Generate(
            engine,
            lightbox,
            default_model=DEFAULT_MODEL,
            safety_threshold=settings.safety_threshold,
            bring=stock.bring,
            find=Shown(ground.database, shelf, settings.models).find,
            locate=finding(settings.finders),
        )
        outbound = Outbound(settings.outbound_ports, settings.private_hosts)
        install = Install(settings, ground.database, outbound, settings.data_dir, stock.checkpoints)
        room = UpscalingRoom(settings.upscalers, torch.device("cpu"))
        makers: list[Maker] = [
            generate,
            Judge(lightbox),
            Upscale(room, lightbox),
            CutOut(settings.segmenters, lightbox, finding(settings.finders)),
            Caption(lightbox, captioning(settings.captioners)),
            install,
        ]
        worker = Worker(settings, ground.database, ground.queue, ground.blobs, ground.vault, makers=makers, name="test")
        site = Site(settings, services, engine, shelf, asyncio.get_running_loop())
        try:
            with room:
                async with opened(ground):
                    await ground.vault.open(may_make=True)
                    await services.erasure.replay.open()
                    async with _working(worker), _calling_back(ground.queue), _serving(site, listener):
                        yield site
        finally:
            engine.close()
            services.inputs.close()


def _listener() -> socket.socket:
    """Told its protocol, since asyncio switches Nagle's delay off only where it is."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    return listener


@asynccontextmanager
async def _working(worker: Worker) -> AsyncIterator[None]:
    stop = asyncio.Event()
    working = asyncio.create_task(worker.run(stop))
    try:
        yield
    finally:
        stop.set()
        await working


@asynccontextmanager
async def _calling_back(queue: Queue) -> AsyncIterator[None]:
    calling = asyncio.create_task(queue.work([WEBHOOKS], concurrency=4))
    try:
        yield
    finally:
        calling.cancel()
        await asyncio.gather(calling, return_exceptions=True)


@asynccontextmanager
async def _serving(site: Site, listener: socket.socket) -> AsyncIterator[None]:
    async def ready() -> None:
        if not site.ready:
            raise Unavailable

    config = uvicorn.Config(
        create(site.services, ready=ready), http=connection_class(512), ws="none", log_config=None, lifespan="off",
        access_log=False,
    )  # fmt: skip
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield
    finally:
        server.should_exit = True
        with contextlib.suppress(asyncio.CancelledError):
            await serving
