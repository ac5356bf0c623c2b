"""Where pictures are enlarged: beside the studio, on a thread of its own, window by window.

Windows of all requests that want the same network share its calls. Whose turn it is goes by what was done for each owner
while others waited. Knows nothing of jobs and files.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np
import torch

from safelight.engine.enlargement import Claim, Work
from safelight.engine.generation import Enlargement, Pixels, Progress
from safelight.engine.isolate import as_ours, isolate
from safelight.engine.tiles import Window
from safelight.engine.upscalers import Upscaler, bundled, read_upscaler
from safelight.errors import Cancelled, EngineFailed, Invalid, SafelightError

KEPT = 3  # operators' networks in memory
TOGETHER_ON_CUDA = 4


class Piece(NamedTuple):
    work: Work
    window: Window


class UpscalingRoom:
    """``together``: how many windows a call holds; on a GPU always so many, so that no picture depends on its company."""

    def __init__(self, models: Mapping[str, Path], device: torch.device, together: int | None = None) -> None:
        self._models, self._device = models, device
        self._together = together
        self._read = lru_cache(KEPT)(lambda path: read_upscaler(path, device))
        self._arrived: list[Claim] = []
        self._works: list[Work] = []  # the thread's alone, oldest first
        self._served: dict[str, int] = {}  # by owner, while he has something here
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="upscaling", daemon=True)

    # From any thread.

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Stops after the call at hand. Whatever is not done by then fails as cancelled."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def submit(self, asked: Enlargement, on_progress: Callable[[Progress], None] = lambda _: None) -> Claim:
        claim = Claim(asked, on_progress)
        with self._changed:
            if self._closed:
                claim.cancel()
            self._arrived.append(claim)
            self._changed.notify()
        return claim

    # On the room's thread.

    def _run(self) -> None:
        while arrived := self._wait():
            for claim in arrived.claims:
                self._admit(claim)
            self._works = [work for work in self._works if not work.over]
            if self._works:
                self._step()
        for each in (*self._arrived, *(work.claim for work in self._works)):
            each.fail(Cancelled())

    def _wait(self) -> _Arrived | None:
        with self._changed:
            while not (self._arrived or self._works or self._closed):
                self._changed.wait()
            claims, self._arrived = ([], self._arrived) if self._closed else (self._arrived, [])
            return None if self._closed else _Arrived(claims)

    def _admit(self, claim: Claim) -> None:
        try:
            work = Work(claim, self._upscaler(claim.asked.model))
        except Exception as error:  # noqa: BLE001  # a border: the request is told
            claim.fail(as_ours(error))
        else:
            self._works.append(work)

    def _upscaler(self, name: str | None) -> Upscaler:
        if name is None:
            return bundled()
        if name not in self._models:
            raise Invalid("model_id", f"{name} names no upscaler that this worker has")
        return self._read(self._models[name])

    def _step(self) -> None:
        """One call, for whom least was done so far and for those who may join it."""
        waiting = {work.claim.asked.owner for work in self._works}
        least = min((done for owner, done in self._served.items() if owner in waiting), default=0)
        self._served = {owner: self._served.get(owner, least) for owner in waiting}
        turn = sorted(self._works, key=lambda work: self._served[work.claim.asked.owner])
        pieces, most = list[Piece](), self._width(turn[0].upscaler)
        for work in [work for work in turn if work.kind == turn[0].kind]:
            pieces += [Piece(work, window) for window in work.take(most - len(pieces))]
        for piece, answer in zip(pieces, isolate(pieces, self._call), strict=True):
            self._end(piece, answer)

    def _end(self, piece: Piece, answer: Pixels | SafelightError) -> None:
        work, window = piece
        self._served[work.claim.asked.owner] += window.height * window.width
        if isinstance(answer, SafelightError):
            work.claim.fail(answer)
        elif not work.over:
            work.lay(window, answer)

    def _width(self, upscaler: Upscaler) -> int:
        return self._together or (TOGETHER_ON_CUDA if upscaler.device.type == "cuda" else 1)

    @torch.inference_mode()
    def _call(self, pieces: Sequence[Piece]) -> Sequence[Pixels]:
        """Filled up with copies of the last, whose answers are passed over."""
        work = pieces[0].work
        shown = [piece.work.pixels_of(piece.window) for piece in pieces]
        shown += shown[-1:] * (self._width(work.upscaler) - len(shown))
        stack = torch.from_numpy(np.stack(shown)).to(work.upscaler.device).permute(0, 3, 1, 2).float() / 255
        larger = work.upscaler.enlarge(stack.contiguous(memory_format=torch.channels_last), work.factor)
        if not bool(larger.isfinite().all()):
            raise EngineFailed("The picture could not be enlarged: the network's answer was not a number")
        bytes_ = larger.clamp(0, 1).mul(255).round().byte().permute(0, 2, 3, 1).contiguous().cpu().numpy()
        return list(bytes_[: len(pieces)])


class _Arrived(NamedTuple):
    claims: list[Claim]
