"""What a picture shows, in words. One picture at a time; whoever says it is handed in."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from safelight.engine.generation import Pixels
from safelight.records import AssetKind, CaptionRequest, Task
from safelight.service.makers.generate import Lightbox
from safelight.service.makers.maker import Made, Order

Say = Callable[[str, Pixels, str], str]  # a captioner, a picture and a length -> words


class Caption:
    """The words are a file like a picture would be: sealed, and erased with the request."""

    task = Task.caption

    def __init__(self, lightbox: Lightbox, say: Say) -> None:
        self._lightbox, self._say = lightbox, say
        self._turn = asyncio.Lock()

    async def make(self, order: Order) -> Made:
        request = order.request
        assert isinstance(request, CaptionRequest)
        pixels = await asyncio.to_thread(self._lightbox.decode, order.inputs[AssetKind.init_image])
        async with self._turn:
            began = time.monotonic()
            with order.at_work():
                words = await asyncio.to_thread(self._say, request.captioner, pixels, request.length)
                order.note(1, 1)
            seconds = time.monotonic() - began
        return Made([words.encode()], 1, seconds, request.captioner)

    def purge(self, owner: str) -> None:
        """It keeps nothing of anybody."""
