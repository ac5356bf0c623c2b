"""What a picture shows, in words. One picture at a time; whoever says it is handed in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from safelight.engine.generation import Pixels
from safelight.records import AssetKind, CaptionRequest, Task
from safelight.service.makers.generate import Lightbox
from safelight.service.makers.maker import Made, OneAtATime, Order

Say = Callable[[str, Pixels, str], str]  # a captioner, a picture and a length -> words


class Caption:
    """The words are a file like a picture would be: sealed, and erased with the request."""

    task = Task.caption

    def __init__(self, lightbox: Lightbox, say: Say) -> None:
        self._lightbox, self._say = lightbox, say
        self._turn = OneAtATime()

    async def make(self, order: Order) -> Made:
        request = order.request
        assert isinstance(request, CaptionRequest)
        pixels = await asyncio.to_thread(self._lightbox.decode, order.inputs[AssetKind.init_image])
        words, seconds = await self._turn.do(order, lambda: self._say(request.captioner, pixels, request.length))
        return Made([words.encode()], 1, seconds, request.captioner)

    def purge(self, owner: str) -> None:
        """It keeps nothing of anybody."""
