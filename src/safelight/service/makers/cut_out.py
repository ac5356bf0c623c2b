"""A picture without its background, or the mask of what is in front. One picture at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from safelight.engine.generation import Pixels
from safelight.engine.matting import Cut, cut_out
from safelight.engine.segmenters import Share, from_border, read_segmenter
from safelight.errors import Invalid
from safelight.records import AssetKind, CutOutRequest, Task
from safelight.service.makers.generate import Lightbox, Locate, no_finder
from safelight.service.makers.maker import Made, OneAtATime, Order
from safelight.service.tools import BY_BORDER


class CutOut:
    """``segmenters`` are the operator's networks by name; ``locate`` finds what words name."""

    task = Task.cut_out

    def __init__(self, segmenters: Mapping[str, Path], lightbox: Lightbox, locate: Locate = no_finder) -> None:
        self._segmenters, self._lightbox, self._locate = segmenters, lightbox, locate
        self._turn = OneAtATime()

    async def make(self, order: Order) -> Made:
        request = order.request
        assert isinstance(request, CutOutRequest)
        pixels = await asyncio.to_thread(self._lightbox.decode, order.inputs[AssetKind.init_image])
        made, seconds = await self._turn.do(order, lambda: self._cut(pixels, request))
        file = await asyncio.to_thread(self._lightbox.encode, made)
        return Made([file], 1, seconds, request.finder or request.segmenter or BY_BORDER)

    def purge(self, owner: str) -> None:
        """It keeps nothing of anybody."""

    def _front(self, pixels: Pixels, request: CutOutRequest) -> Share:
        if request.finder is not None:
            return (self._locate(request.finder, pixels, request.words) / 255).astype(np.float32)
        name = request.segmenter
        return from_border(pixels) if name is None else read_segmenter(self._segmenters[name])(pixels)

    def _cut(self, pixels: Pixels, request: CutOutRequest) -> Pixels:
        name = request.segmenter
        if name is not None and name not in self._segmenters:
            raise Invalid("model_id", f"{name} names no segmentation network that this worker has")
        front = self._front(pixels, request)
        cut = Cut(
            request.only_mask, request.inverse_mask, request.post_process_mask, request.alpha_matting,
            request.foreground_threshold, request.background_threshold, request.erode_size,
        )  # fmt: skip
        return cut_out(pixels, front, cut)
