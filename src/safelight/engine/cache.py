"""What may be used again for the same owner: least recently used goes first, and a purge is final.

Work that was begun before a purge cannot put anything back after it. Knows nothing of what it keeps.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Cache(Generic[Value]):
    """Every method may be called from any thread."""

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._values: OrderedDict[tuple[str, Hashable], Value] = OrderedDict()
        self._purges: dict[str, int] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._values)

    def get(self, owner: str, key: Hashable) -> Value | None:
        with self._lock:
            if (owner, key) in self._values:
                self._values.move_to_end((owner, key))
            return self._values.get((owner, key))

    def purges(self, owner: str) -> int:
        """To be asked when work begins, and handed to ``put``."""
        with self._lock:
            return self._purges.get(owner, 0)

    def put(self, owner: str, key: Hashable, value: Value, purges: int) -> None:
        with self._lock:
            if purges != self._purges.get(owner, 0):
                return
            self._values[owner, key] = value
            if len(self._values) > self._keep:
                self._values.popitem(last=False)

    def purge(self, owner: str) -> None:
        with self._lock:
            self._purges[owner] = self._purges.get(owner, 0) + 1
            for key in [key for key in self._values if key[0] == owner]:
                del self._values[key]
