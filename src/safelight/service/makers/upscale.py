"""A picture made larger: by the room that enlarges, or by a filter. Knows nothing of networks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Protocol

import numpy as np
from PIL import Image

from safelight.engine.generation import Enlargement, Pixels, Progress
from safelight.records import AssetKind, Task, UpscaleRequest
from safelight.service.makers.framing import framed
from safelight.service.makers.generate import Lightbox
from safelight.service.makers.maker import Made, Order
from safelight.service.tools import BUNDLED, FILTERS

RESAMPLING = dict(zip(FILTERS, (Image.Resampling.LANCZOS, Image.Resampling.NEAREST), strict=True))


class Claim(Protocol):
    """The room's word that it works on something."""

    @property
    def future(self) -> Future[Pixels]: ...
    def cancel(self) -> None: ...


class Room(Protocol):
    def submit(self, asked: Enlargement, on_progress: Callable[[Progress], None]) -> Claim: ...


class Upscale:
    task = Task.upscale

    def __init__(self, room: Room, lightbox: Lightbox) -> None:
        self._room, self._lightbox = room, lightbox

    async def make(self, order: Order) -> Made:
        request = order.request
        assert isinstance(request, UpscaleRequest)
        pixels = await asyncio.to_thread(self._lightbox.decode, order.inputs[AssetKind.init_image])
        if request.fit == "crop":
            pixels, _ = framed(pixels, None, request.width, request.height, "crop")
        began = time.monotonic()
        with order.at_work():
            larger = await self._larger(request, pixels, order)
        seconds = time.monotonic() - began
        file = await asyncio.to_thread(self._lightbox.encode, larger)
        return Made([file], 1, seconds, request.upscaler or BUNDLED, native_size=(pixels.shape[1], pixels.shape[0]))

    def purge(self, owner: str) -> None:
        """It keeps nothing of anybody."""

    async def _larger(self, request: UpscaleRequest, pixels: Pixels, order: Order) -> Pixels:
        how = RESAMPLING.get(request.upscaler or "")
        if how is not None:
            return await asyncio.to_thread(_resampled, pixels, (request.width, request.height), how)
        asked = Enlargement(pixels, request.width, request.height, request.upscaler, order.owner)
        claim = self._room.submit(asked, partial(_note, order))
        order.when_taken_back(claim.cancel)
        return await asyncio.wrap_future(claim.future)


def _note(order: Order, progress: Progress) -> None:
    order.note(progress.step, progress.steps)


def _resampled(pixels: Pixels, size: tuple[int, int], how: Image.Resampling) -> Pixels:
    return np.asarray(Image.fromarray(pixels).resize(size, how))
