"""Safelight's durable core put together for a test, with a painter in the engine's place: real database, real files."""

from __future__ import annotations

import asyncio
import hashlib
import io
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from PIL import Image

from safelight.app import make_serving
from safelight.cancelling import cancel
from safelight.engine.generation import Generation, Picture, Pixels, Progress, Result
from safelight.engine.upscaling import UpscalingRoom
from safelight.errors import Cancelled
from safelight.ground import opened, prepare
from safelight.records import Account, AssetKind, Bitmap, ImageRequest, Job, Operation
from safelight.service.makers.caption import Caption
from safelight.service.makers.cut_out import CutOut
from safelight.service.makers.generate import Generate, Lightbox
from safelight.service.makers.judge import Judge
from safelight.service.makers.maker import Maker
from safelight.service.makers.upscale import Upscale
from safelight.service.once import Once
from safelight.service.outbox import Outbox
from safelight.service.pulse import Pulse
from safelight.service.reconciler import Reconciler
from safelight.service.rescue import Rescue
from safelight.service.revocation import Revocation
from safelight.service.services import Services
from safelight.service.vault import Vault
from safelight.service.worker import Worker
from safelight.settings import Settings
from safelight.storage.blobs import Blobs
from safelight.storage.database import Database
from safelight.storage.queue import Queue


@dataclass(frozen=True)
class House:
    """Everything that app.py would put together, but the web server."""

    settings: Settings
    database: Database
    queue: Queue
    blobs: Blobs
    services: Services
    outbox: Outbox
    reconciler: Reconciler
    account: Account
    worker: Worker
    painter: Painter
    vault: Vault
    rescue: Rescue
    revocation: Revocation

    @asynccontextmanager
    async def working(self) -> AsyncIterator[Painter]:
        """With a worker in this process, drained at the end."""
        stop = asyncio.Event()
        working = asyncio.create_task(self.worker.run(stop))
        try:
            yield self.painter
        finally:
            stop.set()
            await working

    async def submit(
        self,
        request: ImageRequest | None = None,
        init: Bitmap | None = None,
        mask: Bitmap | None = None,
        once: Once | None = None,
    ) -> Job:
        given = {AssetKind.init_image: init, AssetKind.mask_image: mask}
        pictures = {kind: bitmap for kind, bitmap in given.items() if bitmap is not None}
        return await self.services.jobs.submit(self.account, request or a_request(), pictures, once=once)

    async def finished(self, job: Job, seconds: float = 60.0) -> Job:
        done = await self.services.jobs.wait(self.account, job.id, seconds)
        assert done.state.final, f"job {job.id} is still {done.state}"
        return done


class Painter:
    """An engine as far as a worker can tell. Pictures are of one colour, made from the seed; ``gate`` holds them back.

    After a step it waits until ``heard`` says that whoever listens has heard of it.
    """

    def __init__(self, step_seconds: float = 0.0) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.step_seconds = step_seconds
        self.purged: list[str] = []
        self.generations: list[Generation] = []
        self.wrong: Callable[[Generation], Exception | None] = lambda generation: None
        self.heard: Callable[[Generation, int], bool] = lambda generation, step: True

    def submit(self, generation: Generation, on_progress: Callable[[Progress], None] | None = None) -> PaintTicket:
        self.generations.append(generation)
        ticket = PaintTicket()
        threading.Thread(target=self._paint, args=(generation, ticket, on_progress), daemon=True).start()
        return ticket

    def purge(self, owner: str) -> None:
        self.purged.append(owner)

    def _paint(
        self, generation: Generation, ticket: PaintTicket, on_progress: Callable[[Progress], None] | None
    ) -> None:
        for step in range(generation.steps):
            time.sleep(self.step_seconds)
            while not self.gate.wait(0.02) and not ticket.taken_back.is_set():
                pass
            if ticket.taken_back.is_set():
                return ticket.future.set_exception(Cancelled())
            if on_progress is not None:
                preview = colour(generation.seed, 8, 8) if ticket.previews else None
                on_progress(Progress(step + 1, generation.steps, preview))
            while not self.heard(generation, step + 1) and not ticket.taken_back.wait(0.02):
                pass
        if wrong := self.wrong(generation):
            return ticket.future.set_exception(wrong)
        seeds = [(generation.seed + number) % 2**32 for number in range(generation.samples)]
        pictures = tuple(Picture(colour(seed, generation.width, generation.height), seed) for seed in seeds)
        return ticket.future.set_result(Result(pictures, generation.steps, 0.5, (generation.width, generation.height)))


@dataclass
class PaintTicket:
    future: Future[Result] = field(default_factory=Future)
    previews: bool = False
    taken_back: threading.Event = field(default_factory=threading.Event)

    def cancel(self) -> None:
        self.taken_back.set()


def colour(seed: int, width: int, height: int) -> Pixels:
    return np.full((height, width, 3), [seed % 251 + 1, seed // 251 % 256, 7], np.uint8)


def encode(pixels: Pixels) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def decode(data: bytes) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(data)))


def sketch(pixels: Pixels) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "WEBP", lossless=True)
    return file.getvalue()


def nsfw(pixels: Pixels) -> float:
    """Of the colours above, the even seeds."""
    return float(pixels[0, 0, 0] % 2 == 1)


def a_bitmap(seed: int = 5, side: int = 64) -> Bitmap:
    png = encode(colour(seed, side, side))
    return Bitmap(png, side, side, hashlib.sha256(png).hexdigest())


def a_request(prompt: str = "a small house", **parts: object) -> ImageRequest:
    given: dict[str, object] = {
        "operation": Operation.text2img,
        "width": 64,
        "height": 64,
        "steps": 4,
        "seed": 3,
        **parts,
    }
    return ImageRequest(prompt=prompt, **given)  # type: ignore[arg-type]  # whatever the test says


@asynccontextmanager
async def open_house(
    settings: Settings, *, name: str = "test", painter: Painter | None = None, pulse: Pulse | None = None
) -> AsyncIterator[House]:
    """Everything on one database; the reconciler is there but runs only when told."""
    assert settings.database_url is not None
    ground, painter = prepare(settings, settings.database_url), painter or Painter()
    database, queue, blobs, vault = ground.database, ground.queue, ground.blobs, ground.vault
    serving = make_serving(ground)
    services = replace(serving.services, enhance=str)
    lightbox = Lightbox(decode=decode, encode=encode, nsfw=nsfw, sketch=sketch)
    generate = Generate(painter, lightbox, default_model="plain", safety_threshold=settings.safety_threshold)
    room = UpscalingRoom(settings.upscalers, torch.device("cpu"))

    def say(_name: str, _pixels: Pixels, length: str) -> str:
        time.sleep(painter.step_seconds)
        return length

    makers: list[Maker] = [
        generate,
        Judge(lightbox),
        Upscale(room, lightbox),
        CutOut(settings.segmenters, lightbox),
        Caption(lightbox, say),
    ]
    worker = Worker(
        settings, database, queue, blobs, vault,
        makers=makers, name=name, needs=generate.needs, pulse=lambda: pulse or Pulse(),
    )  # fmt: skip
    try:
        with room:
            async with opened(ground):
                await vault.open(may_make=True)
                await services.erasure.replay.open()
                account = await services.accounts.create_account("tester")
                yield House(
                    settings, database, queue, blobs, services, Outbox(database, queue), serving.reconciler, account,
                    worker, painter, vault, serving.rescue, serving.revocation,
                )  # fmt: skip
    finally:
        services.inputs.close()


@asynccontextmanager
async def reconciling(house: House) -> AsyncIterator[None]:
    """With the reconciler running, as in every process of a real house."""
    running = asyncio.create_task(house.reconciler.run())
    try:
        yield
    finally:
        await cancel(running)
