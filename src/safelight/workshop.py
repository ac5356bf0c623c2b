"""Where things are made, put together: the engine, the rooms beside it, their makers and the worker. Loads torch.

Knows nothing of HTTP; what stands under it (database, queue, files) is handed in.
"""

from __future__ import annotations

import io
import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from PIL import Image

from safelight import supervisor
from safelight.checkpoints import BUNDLED_NAME
from safelight.engine import hints, images, safety
from safelight.engine.captioners import captioning
from safelight.engine.depth import Depth
from safelight.engine.engine import Engine
from safelight.engine.finders import finding
from safelight.engine.generation import Pixels
from safelight.engine.hints import Draw
from safelight.engine.memory import EncoderPlace, memory_of
from safelight.engine.pose import Pose
from safelight.engine.quantised import Bits
from safelight.engine.rows import device_name
from safelight.engine.segmentation import Segmentation
from safelight.engine.shelf import Listing, Shelf
from safelight.engine.upscaling import UpscalingRoom
from safelight.ground import Ground
from safelight.service import worker
from safelight.service.additions import Shown
from safelight.service.courtesy import needs_nothing
from safelight.service.jobs import QUEUES
from safelight.service.makers.caption import Caption
from safelight.service.makers.cut_out import CutOut
from safelight.service.makers.generate import Generate, Lightbox
from safelight.service.makers.install import Install
from safelight.service.makers.judge import Judge
from safelight.service.makers.maker import Maker
from safelight.service.makers.upscale import Upscale
from safelight.service.outbound import Outbound
from safelight.service.progress import MOST_PREVIEW
from safelight.service.pulse import Pulse
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
    locate = finding(settings.finders)
    generate = Generate(
        shop.engine, lightbox, default_model=settings.model or BUNDLED_NAME,
        safety_threshold=settings.safety_threshold, bring=stock.bring, weighs=settings.weighs,
        find=Shown(ground.database, shop.shelf, settings.models).find,
        locate=locate,
    )  # fmt: skip
    outbound = Outbound(settings.outbound_ports, settings.private_hosts)
    install = Install(settings, ground.database, outbound, settings.data_dir, stock.checkpoints)
    cut_out = CutOut(settings.segmenters, lightbox, locate)
    caption = Caption(lightbox, captioning(settings.captioners))
    return generate, Judge(lightbox), Upscale(shop.upscaling, lightbox), cut_out, caption, install


def make_worker(ground: Ground, shop: Workshop, queues: Collection[str]) -> worker.Worker:
    makers = [maker for maker in makers_of(ground, shop) if QUEUES[maker.task] in queues]
    return worker.Worker(
        ground.settings,
        ground.database,
        ground.queue,
        ground.blobs,
        ground.vault,
        makers=makers,
        name=supervisor.worker_name(os.getpid()),
        pulse=partial(pulse_of, shop, device_of(ground.settings)),
        needs=next((maker.needs for maker in makers if isinstance(maker, Generate)), needs_nothing),
    )


def pulse_of(shop: Workshop, device: torch.device) -> Pulse:
    load, memory = shop.engine.load(), memory_of(device)
    return Pulse(
        load.seconds_per_step, load.rows_per_tick, load.rows_waiting, device_name(device), memory.used, memory.free, memory.total,
        {each.name: _told(each) for each in shop.shelf.held()}, load.seconds_ahead,
    )  # fmt: skip


def _told(held: Listing) -> dict[str, object]:
    footprint = held.footprint
    return {
        "state": held.state.value,
        "bytes": held.bytes,
        "parts": footprint.apart if held.bytes else {},
        "encoders": footprint.place.value,
    }


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
        loras=settings.loras, embeddings=settings.embeddings, controlnets=settings.controlnets, vaes=settings.vaes,
        onlookers=onlookers_of(settings, device), lenders=settings.components,
        encoders=EncoderPlace(settings.encoders), weights=Bits(settings.weights),
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


def onlookers_of(settings: Settings, device: torch.device) -> dict[str, Draw]:
    """The operator's networks that draw hints, by their kinds."""
    found: dict[str, Draw] = {}
    if settings.depth:
        found[hints.DEPTH] = Depth(settings.depth, device)
    if settings.segmentation:
        found[hints.SEGMENTATION] = Segmentation(settings.segmentation, device)
    if settings.people and settings.pose:
        found[hints.POSE] = Pose(settings.people, settings.pose, device)
    return found


def device_of(settings: Settings) -> torch.device:
    name = settings.devices[0]
    return torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)


def upscaling_of(settings: Settings) -> UpscalingRoom:
    """The room that enlarges, not running yet."""
    return UpscalingRoom(settings.upscalers, device_of(settings))
