"""Files by name that one checkpoint may use beside its own: read when they are first asked for, the most lately used kept.

Knows nothing of what is in them.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Generic, TypeVar

from torch import nn

from safelight.engine.families.autoencoder import Place
from safelight.errors import EngineFailed, Invalid

Read = TypeVar("Read")


class Beside(Generic[Read]):
    """Any thread may ask. ``what`` one of them is called, where ``field`` names one that is not here."""

    def __init__(
        self, paths: Mapping[str, Path], read: Callable[[Path], Read], most: int, field: str, what: str
    ) -> None:
        self._paths = paths  # more may come, and some may go
        self._reader, self._most = read, most
        self._field, self._what = field, what
        self._kept: OrderedDict[str, Read] = OrderedDict()
        self._reading = threading.Lock()

    @property
    def kept(self) -> list[Read]:
        return list(self._kept.values())

    def get(self, name: str) -> Read:
        """Raises Invalid for one that is not here, and what reading it raises."""
        with self._reading:
            if name not in self._paths:
                raise Invalid(self._field, f"is not {self._what} on this server")
            if name not in self._kept:
                self._kept[name] = self._read(self._paths[name])
            self._kept.move_to_end(name)
            if len(self._kept) > self._most:
                self._kept.popitem(last=False)
            return self._kept[name]

    def forget(self, name: str) -> None:
        with self._reading:
            self._kept.pop(name, None)

    def _read(self, path: Path) -> Read:
        return self._reader(path)


class Networks(Beside[nn.Module]):
    """Those that are built of such files. ``build`` raises EngineFailed for one that does not fit the checkpoint."""

    def __init__(
        self,
        paths: Mapping[str, Path],
        build: Callable[[Path], nn.Module],
        place: Place,
        most: int,
        field: str,
        what: str,
    ) -> None:
        super().__init__(paths, build, most, field, what)
        self._place = place

    @property
    def bytes(self) -> int:
        return sum(weight.nbytes for network in self.kept for weight in network.parameters())

    def _read(self, path: Path) -> nn.Module:
        try:
            network = super()._read(path)
        except EngineFailed as error:
            raise Invalid(self._field, f"cannot be used with this checkpoint: {error}") from error
        self._place.settle(network)
        return network
