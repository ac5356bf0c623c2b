"""How fast an engine works, measured by what it got done while it had something to do. Knows nothing of jobs or databases."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

UNMEASURED = 2e6  # cost per second assumed until a worker has measured its own
ASSUMED = 3e6  # cost of the job that stands for this assumption among those that were measured
WEIGHT = 0.3  # of the newest measurement in the running mean, among jobs of one cost


class Meter:
    """Seconds per unit of cost, over all that shares the engine: a job that waits for its neighbours does not make it slower."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._lock = threading.Lock()
        self._clock = clock
        self._busy, self._since, self._cost = 0, 0.0, 0.0
        self._known = ASSUMED**2  # how much the mean rests on: squares of costs
        self.seconds_per_cost: float | None = None

    def begin(self) -> float:
        with self._lock:
            now = self._clock()
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
            now = self._clock()
            if self._cost > 0 and now > began:
                self._learn(now - self._since, self._cost)
            self._since, self._cost = now, 0.0

    def _learn(self, seconds: float, cost: float) -> None:
        """Least squares through the origin: a small job's time goes to other things than its cost, and must not tell of large ones."""
        weight = cost * cost
        self._known *= (1 - WEIGHT) ** min(1.0, weight / (WEIGHT * self._known))  # the past fades as it is outweighed
        self._known += weight
        mean = self.seconds_per_cost or 1 / UNMEASURED
        self.seconds_per_cost = mean + weight / self._known * (seconds / cost - mean)
