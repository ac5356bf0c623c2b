"""One picture at a time at the command line, by the rooms that make things themselves: no server and no database.

Loads torch only when the picture has passed its checks.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from safelight.checkpoints import BUNDLED_NAME, named_checkpoints, read_wants
from safelight.engine.generation import Enlargement, Generation, Pixels
from safelight.engine.matting import Cut, cut_out
from safelight.engine.segmenters import from_border, read_segmenter
from safelight.errors import SetupFailed
from safelight.records import Bitmap, Wants
from safelight.service.inputs import Inputs
from safelight.service.outbound import Outbound
from safelight.service.tools import segmenter, upscaler
from safelight.service.widen import widen
from safelight.settings import Settings

OnStep = Callable[[int, int], None]
WRITTEN = (".png", ".jpg", ".jpeg", ".webp")
WITH_ALPHA = (".png", ".webp")


def wants(settings: Settings) -> Wants:
    """What the default checkpoint asks for where nothing is said."""
    settings = named_checkpoints(settings)
    return read_wants(settings)[settings.model or BUNDLED_NAME]


def imagine(settings: Settings, picture: Path, output: Path, wanted: dict[str, Any], on_step: OnStep) -> float:
    """One picture from another; the seconds it took on the engine."""
    settings = named_checkpoints(settings)
    _may_write(output)
    return _generate(settings, output, Generation(init_image=_pixels(_read(settings, picture)), **wanted), on_step)


def outpaint(
    settings: Settings, picture: Path, output: Path, overlap: int, wanted: dict[str, Any], on_step: OnStep
) -> float:
    """The picture painted on beyond its edges, to the width and height in ``wanted``."""
    settings = named_checkpoints(settings)
    _may_write(output)
    bitmap = _read(settings, picture)
    canvas, mask = asyncio.run(widen(bitmap, wanted["width"], wanted["height"], overlap))
    started = Generation(init_image=_pixels(canvas), mask_image=_pixels(mask), strength=1.0, **wanted)
    return _generate(settings, output, started, on_step)


def upscale(settings: Settings, picture: Path, output: Path, scale: float, model: str, on_step: OnStep) -> None:
    settings = named_checkpoints(settings.model_copy(update={"unknown_model": "refuse"}))
    _may_write(output)
    pixels, tool = _pixels(_read(settings, picture)), upscaler(model, settings)
    height, width = (round(side * scale) for side in pixels.shape[:2])
    from safelight.workshop import upscaling_of

    with upscaling_of(settings) as room:
        asked = Enlargement(pixels, width, height, tool.name)
        claim = room.submit(asked, lambda progress: on_step(progress.step, progress.steps))
        larger = claim.future.result()
    Image.fromarray(larger).save(output)


def remove_background(settings: Settings, picture: Path, output: Path, model: str, cut: Cut) -> str:
    """What is to be said of how it was done, if anything is."""
    settings = named_checkpoints(settings.model_copy(update={"unknown_model": "refuse"}))
    _may_write(output, WRITTEN if cut.only_mask else WITH_ALPHA)
    pixels, tool = _pixels(_read(settings, picture)), segmenter(model, settings)
    front = from_border(pixels) if tool.name is None else read_segmenter(settings.segmenters[tool.name])(pixels)
    Image.fromarray(cut_out(pixels, front, cut)).save(output)
    return tool.note


def _generate(settings: Settings, output: Path, generation: Generation, on_step: OnStep) -> float:
    from safelight.workshop import engine_of

    with engine_of(settings) as (shelf, engine):
        shelf.wait(None)
        ticket = engine.submit(generation, lambda progress: on_step(progress.step, progress.steps))
        result = ticket.result()
    Image.fromarray(result.pictures[0].pixels).save(output)
    return result.seconds


def _may_write(output: Path, kinds: tuple[str, ...] = WRITTEN) -> None:
    if output.suffix.lower() not in kinds or not output.absolute().parent.is_dir():
        named = ", ".join(kinds[:-1]) + " or " + kinds[-1]
        raise SetupFailed(f"Cannot write {output}: give a {named} file in a folder that exists.")


def _read(settings: Settings, path: Path) -> Bitmap:
    """Through the same checks as a picture that comes by HTTP."""
    if not path.is_file():
        raise SetupFailed(f"There is no picture at {path}.")
    inputs = Inputs(settings, Outbound(settings.outbound_ports))
    try:
        return asyncio.run(inputs.decoded(path.read_bytes(), field=str(path)))
    finally:
        inputs.close()


def _pixels(bitmap: Bitmap) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(bitmap.png), formats=["PNG"]))
