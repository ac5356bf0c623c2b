"""Finished latents to pictures. In exact mode one by one; otherwise those of one size share a call.

On CUDA in a thread and on a stream of their own, so that the UNet goes on meanwhile with the pictures of others.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from itertools import groupby

import torch
from torch import Tensor

from safelight.engine.canvas import Canvas
from safelight.engine.isolate import isolate
from safelight.engine.pace import Pace
from safelight.errors import EngineFailed, SafelightError

TOGETHER = 4  # pictures of one call, at most

Done = Callable[[Canvas, Tensor | SafelightError], None]


class Decoder:
    """``aside``: beside the calls of the UNet; None: where the model is on CUDA. Each answer is given by ``post``."""

    def __init__(
        self, pace: Pace, *, exact: bool, aside: bool | None = None, post: Callable[[Callable[[], None]], None]
    ) -> None:
        self._pace = pace
        self._together = 1 if exact else TOGETHER
        self._aside = aside
        self._post = post
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="decode")
        self._streams: dict[torch.device, torch.cuda.Stream] = {}

    def close(self) -> None:
        self._thread.shutdown(cancel_futures=True)

    def __call__(self, canvases: Sequence[Canvas], done: Done) -> None:
        """Gives ``done`` pictures (3, H, W) in [-1, 1], on the CPU. What is not a number is an error, not a black picture."""
        for group in self._groups(canvases):
            device = group[0].plan.model.device
            if self._aside or (self._aside is None and device.type == "cuda"):
                self._thread.submit(self._beside, group, _mark(device), done)
            else:
                with self._pace.measure("vae"):
                    answers = isolate(group, self._decode)
                _give(group, answers, done)

    def _groups(self, canvases: Sequence[Canvas]) -> Iterator[list[Canvas]]:
        for _, same in groupby(sorted(canvases, key=_kind), key=_kind):
            group = list(same)
            for i in range(0, len(group), self._together):
                yield group[i : i + self._together]

    def _beside(self, group: Sequence[Canvas], finished: torch.cuda.Event | None, done: Done) -> None:
        """The canvases are held until ``done``, so nobody else gets their memory while the stream reads it."""
        with self._pace.measure("aside"):
            answers = isolate(group, lambda canvases: self._decode_after(finished, canvases))
        self._post(lambda: _give(group, answers, done))

    def _decode_after(self, finished: torch.cuda.Event | None, canvases: Sequence[Canvas]) -> Sequence[Tensor]:
        with self._stream(canvases[0].plan.model.device, finished):
            return self._decode(canvases)

    def _stream(self, device: torch.device, after: torch.cuda.Event | None) -> AbstractContextManager[object]:
        if after is None:
            return nullcontext()
        if device not in self._streams:
            self._streams[device] = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch's own
        self._streams[device].wait_event(after)
        return torch.cuda.stream(self._streams[device])

    def _decode(self, canvases: Sequence[Canvas]) -> Sequence[Tensor]:
        latents = torch.stack([canvas.latents for canvas in canvases])
        if not bool(latents.isfinite().all()):
            raise EngineFailed("The picture could not be made: the model's answer was not a number")
        began = time.perf_counter()
        plan = canvases[0].plan
        pictures = plan.model.decode(latents, plan.autoencoder).cpu()
        if not bool(pictures.isfinite().all()):
            raise EngineFailed("The picture could not be made: the decoder's answer was not a number")
        self._pace.vae(pictures.shape[0] * pictures.shape[2] * pictures.shape[3], time.perf_counter() - began)
        self._pace.timings.pictures += len(pictures)
        return pictures.unbind()


def _kind(canvas: Canvas) -> str:
    """Pictures that may share a call of the decoder."""
    return repr((canvas.plan.bucket, canvas.plan.generation.vae, canvas.plan.shape))


def _give(group: Sequence[Canvas], answers: Sequence[Tensor | SafelightError], done: Done) -> None:
    for canvas, answer in zip(group, answers, strict=True):
        done(canvas, answer)


def _mark(device: torch.device) -> torch.cuda.Event | None:
    """The moment at which what was asked of the GPU so far is done."""
    if device.type != "cuda":
        return None
    event = torch.cuda.Event()  # type: ignore[no-untyped-call]  # torch's own
    event.record(torch.cuda.current_stream(device))
    return event
