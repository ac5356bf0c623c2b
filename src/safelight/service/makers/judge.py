"""How safe a picture is: it is looked at, and nothing is made. The judge is handed in."""

from __future__ import annotations

import asyncio
import time

from safelight.records import AssetKind, JudgeRequest, Task
from safelight.service.makers.generate import Lightbox
from safelight.service.makers.maker import Made, Order


class Judge:
    """Scores from 0 (harmless) to 1 against the threshold that was asked for."""

    task = Task.judge

    def __init__(self, lightbox: Lightbox) -> None:
        self._lightbox = lightbox

    async def make(self, order: Order) -> Made:
        request = order.request
        assert isinstance(request, JudgeRequest)
        began = time.monotonic()
        score = await asyncio.to_thread(self._score, order.inputs[AssetKind.init_image])
        return Made((), request.steps_to_run, time.monotonic() - began, nsfw=(score >= request.threshold,))

    def purge(self, owner: str) -> None:
        """It keeps nothing of anybody."""

    def _score(self, data: bytes) -> float:
        return self._lightbox.nsfw(self._lightbox.decode(data))
