"""Room on the disk that is held back for deleting. Where the disk is full it is let go, so that what goes can be written down, and until
there is room again nothing new is taken in. Helps where the database is on the same disk; knows nothing of what is deleted.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

log = logging.getLogger(__name__)

BYTES = 2**25  # a segment of PostgreSQL's log, and as much again for its tables


class Reserve:
    """A file. One that was let go is empty, for all processes of this machine to see; where none is, none was ever held."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "reserve"

    @property
    def is_out(self) -> bool:
        return self._size() == 0

    def hold(self) -> None:
        """Once there is room for it, and for as much beside it."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600), "r+b") as file:
            if (self._size() or 0) >= BYTES or self._free() < 2 * BYTES:
                return
            try:
                os.posix_fallocate(file.fileno(), 0, BYTES)
            except OSError as error:
                log.warning("no room can be held back for deleting: %s", error.strerror)
                self._path.unlink()

    def let_go(self) -> None:
        """Where the disk is full and something is held."""
        if self._size() and self._free() < BYTES:
            os.truncate(self._path, 0)
            log.error("the disk is full: what was held back for deleting is let go, and nothing new is taken in")

    def _size(self) -> int | None:
        try:
            return self._path.stat().st_size
        except FileNotFoundError:
            return None

    def _free(self) -> int:
        disk = os.statvfs(self._path.parent)
        return disk.f_bavail * disk.f_frsize
