"""Answers that are found out once, in a JSON file that several processes share: whoever asks first finds out, the others
wait for that and take it. Knows nothing of what the answers mean.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)


class Remembered:
    """Without ``path``, in this process's memory alone."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._known: dict[str, Any] = {}

    def recall(self, key: str, find: Callable[[], Any]) -> Any:
        """What was found under ``key``, by whichever process; else what ``find`` says, and from then on that."""
        if key not in self._known:
            with self._turn():
                self._known |= self._read()
                if key not in self._known:
                    self._known[key] = find()
                    self._write()
        return self._known[key]

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """One at a time, which also keeps them from spoiling each other's timings. A process that dies gives its turn back."""
        if self._path is None:
            yield
            return
        with self._path.with_suffix(".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _read(self) -> dict[str, Any]:
        if self._path is None or not self._path.exists():
            return {}
        try:
            return dict(json.loads(self._path.read_text()))
        except ValueError:
            log.warning(
                "what was found out before cannot be read; it is found out anew", extra={"path": str(self._path)}
            )
            return {}

    def _write(self) -> None:
        if self._path is None:
            return
        draft = self._path.with_suffix(".draft")
        with draft.open("w") as file:
            json.dump(self._known, file, indent=1, sort_keys=True)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._path)
