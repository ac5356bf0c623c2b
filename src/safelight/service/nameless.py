"""A model's files while somebody here needs them: on the disk without a name, so that they go with whoever holds them.

A single file is its own path; of a folder's there are links under the names that libraries look for. Knows nothing of what is in them.
"""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, overload

ALONE = ""  # the name of a file that is in no folder
PART_BYTES = 32 * 2**20


class Nameless:
    """``scratch`` is a folder on a disk with room."""

    def __init__(self, scratch: Path) -> None:
        self._scratch, self._open = scratch, ExitStack()
        self.files: dict[str, BinaryIO] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._open.close()
        self.files.clear()

    def add(self, name: str = ALONE) -> BinaryIO:
        """An empty one, in a folder where ``name`` says where."""
        file = self._open.enter_context(tempfile.TemporaryFile(dir=self._scratch))  # noqa: SIM115  # the stack closes it
        self.files[name] = file
        return file

    def show(self) -> Path:
        """Where programs of this user find what is written so far. Linux knows the way to a file by whoever has it open."""
        self._flush()
        if alone := self.files.get(ALONE):
            return _path(alone)
        folder = Path(self._open.enter_context(tempfile.TemporaryDirectory(prefix="safelight-links-")))
        for name, file in self.files.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).symlink_to(_path(file))
        return folder

    def drop(self, name: str) -> None:
        self.files.pop(name).close()

    @property
    def sizes(self) -> Mapping[str, int]:
        self._flush()
        return {name: os.fstat(file.fileno()).st_size for name, file in self.files.items()}

    def _flush(self) -> None:
        for file in self.files.values():
            file.flush()


class Parts(Sequence[bytes]):
    """Files one after the other, a part at a time, each read when it is asked for. They stay open for as long as this is held."""

    def __init__(self, files: Sequence[BinaryIO]) -> None:
        held = [os.dup(file.fileno()) for file in files]
        weakref.finalize(self, _close, held)
        self._places = [(file, start) for file in held for start in range(0, os.fstat(file).st_size, PART_BYTES)]

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, number: int) -> bytes: ...
    @overload
    def __getitem__(self, number: slice) -> Sequence[bytes]: ...
    def __getitem__(self, number: int | slice) -> bytes | Sequence[bytes]:
        if isinstance(number, slice):
            return [self[each] for each in range(*number.indices(len(self)))]
        file, start = self._places[number]
        return os.pread(file, PART_BYTES, start)


def _close(files: Sequence[int]) -> None:
    for file in files:
        os.close(file)


def _path(file: BinaryIO) -> Path:
    return Path(f"/proc/{os.getpid()}/fd/{file.fileno()}")
