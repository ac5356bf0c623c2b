"""How fast an engine works, measured by what it got done while it had something to do. Knows nothing of jobs or databases."""

from __future__ import annotations

import threading
import time

WEIGHT = 0.3  # of the newest measurement in the running mean


class Meter:
    """Seconds per unit of cost, over all that shares the engine: a job that waits for its neighbours does not make it slower."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._busy, self._since, self._cost = 0, 0.0, 0.0
        self.seconds_per_cost: float | None = None

    def begin(self) -> float:
        with self._lock:
            now = time.monotonic()
            if self._busy == 0:
                self._since, self._cost = now, 0.0
            self._busy += 1
        return now

    def note(self, cost: float) -> None:
        """So much more is done."""
        with self._lock:
            self._cost += cost

    def end(self, began: float) -> None:
        """One job has left the engine; what was done since the last one left is a measurement."""
        with self._lock:
            self._busy -= 1
            now = time.monotonic()
            if self._cost > 0 and now > began:
                measured = (now - self._since) / self._cost
                known = self.seconds_per_cost
                self.seconds_per_cost = measured if known is None else known + WEIGHT * (measured - known)
            self._since, self._cost = now, 0.0
