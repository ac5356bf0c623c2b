"""An engine without a model: an implementation of the worker's seam whose pictures are a function of the request alone.

Every word and number of a request shows in its pictures, an init image shows through by one minus the strength, and the mask
decides where. The word "nude" paints red, which ``redness`` judges as the safety checker would; "a mistake" fails.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import fields
from io import BytesIO

import numpy as np
from PIL import Image

from safelight.engine.generation import Generation, Picture, Pixels, Progress, Result
from safelight.errors import Cancelled, EngineFailed

PICTURES = ("init_image", "mask_image")


class Ticket:
    def __init__(self) -> None:
        self.future: Future[Result] = Future()
        self.previews = False
        self.taken_back = threading.Event()

    def cancel(self) -> None:
        self.taken_back.set()


class AnalyticEngine:
    """``gate`` is open unless a test closes it: then requests are taken in and none is finished."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.step_seconds = 0.0
        self.purged: list[str] = []
        self._threads = ThreadPoolExecutor(8, "analytic engine")

    def submit(self, generation: Generation, on_progress: Callable[[Progress], None] | None = None) -> Ticket:
        ticket = Ticket()
        self._threads.submit(self._run, generation, on_progress or (lambda _: None), ticket)
        return ticket

    def purge(self, owner: str) -> None:
        self.purged.append(owner)

    def close(self) -> None:
        self.gate.set()
        self._threads.shutdown()

    def _run(self, generation: Generation, on_progress: Callable[[Progress], None], ticket: Ticket) -> None:
        while not self.gate.wait(0.02):
            if ticket.taken_back.is_set():
                break
        if ticket.taken_back.is_set():
            ticket.future.set_exception(Cancelled())
            return
        if "a mistake" in generation.prompt:
            ticket.future.set_exception(EngineFailed("of the kind that callers are not told"))
            return
        steps = steps_run(generation)
        for step in range(1, steps + 1):
            time.sleep(self.step_seconds)
            on_progress(Progress(step, steps, paint(generation, step)[::8, ::8] if ticket.previews else None))
        seeds = [(generation.seed + index) % 2**32 for index in range(generation.samples)]
        pictures = tuple(Picture(paint(generation, seed), seed) for seed in seeds)
        ticket.future.set_result(Result(pictures, steps, 0.25, (generation.width, generation.height)))


def steps_run(generation: Generation) -> int:
    if generation.init_image is None:
        return generation.steps
    return max(1, min(generation.steps, int(generation.steps * generation.strength)))


def paint(generation: Generation, seed: int) -> Pixels:
    told = [
        (each.name, getattr(generation, each.name))
        for each in fields(generation)
        if each.name not in (*PICTURES, "seed", "samples", "owner", "priority", "previews")
    ]
    digest = hashlib.sha256(repr((seed, told)).encode()).digest()
    size = (generation.height, generation.width)
    fresh = np.random.default_rng(list(digest)).integers(0, 256, (*size, 3)).astype(np.float64)
    if "nude" in generation.prompt:
        fresh[:] = (255, 0, 0)
    if generation.init_image is None:
        return fresh.astype(np.uint8)
    under = scaled(generation.init_image, generation).astype(np.float64)
    part = np.full(size, generation.strength)
    if generation.mask_image is not None:
        part = part * (scaled(generation.mask_image, generation) >= 128)
    blended: Pixels = (under + (fresh - under) * part[..., None]).astype(np.uint8)
    return blended


def scaled(pixels: Pixels, generation: Generation) -> Pixels:
    return np.asarray(Image.fromarray(pixels).resize((generation.width, generation.height)), np.uint8)


def decode(png: bytes) -> Pixels:
    with Image.open(BytesIO(png)) as picture:
        return np.asarray(picture, np.uint8)


def encode(pixels: Pixels) -> bytes:
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()


def redness(pixels: Pixels) -> float:
    return float(np.all(pixels == (255, 0, 0)))


def sketch(pixels: Pixels) -> bytes:
    file = BytesIO()
    Image.fromarray(pixels).save(file, "WEBP", lossless=True)
    return file.getvalue()
