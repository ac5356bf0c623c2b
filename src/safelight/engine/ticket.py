"""The claim on a request that was handed in: its result to be, how far it is, and the way to take it back."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future

from safelight.engine.generation import Generation, Picture, Progress, Result

log = logging.getLogger(__name__)


class Ticket:
    """Every method may be called from any thread. ``future`` is done exactly once: result, failure or Cancelled.

    ``previews`` may be changed at any time: the next step goes by it.
    """

    def __init__(
        self, generation: Generation, on_progress: Callable[[Progress], None] | None, cancel: Callable[[Ticket], None]
    ) -> None:
        self.generation = generation
        self.future: Future[Result] = Future()
        self.future.set_running_or_notify_cancel()  # to take it back, use cancel(): the engine must know
        self.progress = Progress(0, generation.steps)
        self.previews = generation.previews
        self._on_progress = on_progress
        self._cancel = cancel
        self._pictures: dict[int, Picture] = {}
        self._began = time.monotonic()
        self._lock = threading.Lock()

    def result(self, timeout: float | None = None) -> Result:
        return self.future.result(timeout)

    def cancel(self) -> None:
        """Stop before the next step. A request that is already done stays done."""
        self._cancel(self)

    def begin(self) -> None:
        """The clock of ``Result.seconds`` starts with the first call, so that waiting does not count."""
        self._began = time.monotonic()

    def report(self, progress: Progress) -> None:
        """Called from one thread, in order. What the listener does wrong is its own affair."""
        if self._on_progress is None or self.future.done():
            return
        try:
            self._on_progress(progress)
        except Exception:
            log.exception("a progress listener failed")

    def deliver(
        self, index: int, picture: Picture, steps: int, drawn: tuple[int, int], *, modest: bool = False
    ) -> None:
        """One picture is ready; with the last of them, so is the result."""
        with self._lock:
            self._pictures[index] = picture
            if len(self._pictures) < self.generation.samples or self.future.done():
                return
            pictures = tuple(self._pictures[i] for i in range(self.generation.samples))
            self.future.set_result(Result(pictures, steps, time.monotonic() - self._began, drawn, modest))

    def fail(self, error: Exception) -> None:
        with self._lock:
            if not self.future.done():
                self.future.set_exception(error)
