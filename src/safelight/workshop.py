"""Where things are made, put together: the engine, the rooms beside it, their makers and the worker. Loads torch.

Knows nothing of HTTP; what stands under it (database, queue, files) is handed in.
"""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from safelight import supervisor
from safelight.app import Ground
from safelight.checkpoints import BUNDLED_NAME, named_checkpoints, read_wants
from safelight.engine import images, safety
from safelight.engine.engine import Engine
from safelight.engine.generation import Generation, Pixels
from safelight.engine.shelf import Shelf
from safelight.engine.upscaling import UpscalingRoom
from safelight.errors import SetupFailed
from safelight.records import Wants
from safelight.service import worker
from safelight.service.inputs import Inputs
from safelight.service.jobs import QUEUES
from safelight.service.makers.cut_out import CutOut
from safelight.service.makers.generate import Generate, Lightbox
from safelight.service.makers.install import Install
from safelight.service.makers.judge import Judge
from safelight.service.makers.maker import Maker
from safelight.service.makers.upscale import Upscale
from safelight.service.outbound import Outbound
from safelight.service.progress import MOST_PREVIEW
from safelight.service.stock import Stock
from safelight.settings import Settings


@dataclass(frozen=True)
class Workshop:
    """All that makes things, running."""

    shelf: Shelf
    engine: Engine
    upscaling: UpscalingRoom


@contextmanager
def workshop_of(settings: Settings) -> Iterator[Workshop]:
    with engine_of(settings) as (shelf, engine), upscaling_of(settings) as upscaling:
        yield Workshop(shelf, engine, upscaling)


def makers_of(ground: Ground, shop: Workshop) -> Sequence[Maker]:
    settings, checker = ground.settings, safety.SafetyChecker()
    own = tuple(settings.models.values())
    stock = Stock(ground.database, ground.blobs, ground.vault, shop.shelf, settings.data_dir, own)
    lightbox = Lightbox(
        decode=_pixels,
        encode=images.encode,
        nsfw=lambda pixels: checker.scores([pixels])[0],
        sketch=lambda pixels: images.sketch(pixels, MOST_PREVIEW),
    )
    generate = Generate(
        shop.engine, lightbox, default_model=settings.model or BUNDLED_NAME,
        safety_threshold=settings.safety_threshold, bring=stock.bring,
    )  # fmt: skip
    outbound = Outbound(settings.outbound_ports, settings.private_hosts)
    install = Install(settings, ground.database, outbound, settings.data_dir, stock.checkpoints)
    cut_out = CutOut(settings.segmenters, lightbox)
    return generate, Judge(lightbox), Upscale(shop.upscaling, lightbox), cut_out, install


def make_worker(ground: Ground, shop: Workshop, queues: Collection[str]) -> worker.Worker:

    def pulse() -> worker.Pulse:
        load = shop.engine.load()
        return worker.Pulse(load.seconds_per_step, load.rows_per_tick, load.rows_waiting)

    return worker.Worker(
        ground.settings,
        ground.database,
        ground.queue,
        ground.blobs,
        ground.vault,
        makers=[maker for maker in makers_of(ground, shop) if QUEUES[maker.task] in queues],
        name=supervisor.worker_name(os.getpid()),
        pulse=pulse,
    )


def _pixels(png: bytes) -> Pixels:
    """Of a picture that we stored ourselves."""
    return np.asarray(Image.open(io.BytesIO(png), formats=["PNG"]))


@contextmanager
def engine_of(settings: Settings) -> Iterator[tuple[Shelf, Engine]]:
    """The shelf of the named checkpoints and an engine on it, running."""
    device = device_of(settings)
    budget = None if settings.model_memory_gib is None else int(settings.model_memory_gib * 2**30)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    shelf = Shelf(
        settings.models, settings.model or BUNDLED_NAME, budget_bytes=budget, device=device, dtype=None,
        loras=settings.loras, embeddings=settings.embeddings, controlnets=settings.controlnets,
        tuning_path=settings.data_dir / "tuning.json", compiled_path=settings.data_dir / "compiled",
    )  # fmt: skip
    try:
        with Engine(
            shelf,
            exact=settings.exactness == "exact",
            max_rows=settings.max_rows,
            rows_path=settings.data_dir / "rows.json",
        ) as engine:
            yield shelf, engine
    finally:
        shelf.close()


def device_of(settings: Settings) -> torch.device:
    return torch.device(
        ("cuda" if torch.cuda.is_available() else "cpu") if settings.device == "auto" else settings.device
    )


def upscaling_of(settings: Settings) -> UpscalingRoom:
    """The room that enlarges, not running yet."""
    return UpscalingRoom(settings.upscalers, device_of(settings))


# safelight imagine


def wants(settings: Settings) -> Wants:
    """What the default checkpoint asks for where nothing is said."""
    settings = named_checkpoints(settings)
    return read_wants(settings)[settings.model or BUNDLED_NAME]


def imagine(
    settings: Settings, picture: Path, output: Path, wanted: dict[str, Any], on_step: Callable[[int, int], None]
) -> float:
    """One picture from another, by the engine alone; the seconds it took there."""
    settings = named_checkpoints(settings)
    if output.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp") or not output.absolute().parent.is_dir():
        raise SetupFailed(f"Cannot write {output}: give a .png, .jpg or .webp file in a folder that exists.")
    init_image = _read_picture(settings, picture)
    with engine_of(settings) as (shelf, engine):
        shelf.wait(None)
        ticket = engine.submit(
            Generation(init_image=init_image, **wanted), lambda progress: on_step(progress.step, progress.steps)
        )
        result = ticket.result()
    Image.fromarray(result.pictures[0].pixels).save(output)
    return result.seconds


def _read_picture(settings: Settings, path: Path) -> Pixels:
    """Through the same checks as a picture that comes by HTTP."""
    if not path.is_file():
        raise SetupFailed(f"There is no picture at {path}.")
    inputs = Inputs(settings, Outbound(settings.outbound_ports))
    try:
        return _pixels(asyncio.run(inputs.decoded(path.read_bytes(), field=str(path))).png)
    finally:
        inputs.close()
