"""Which checkpoints are in memory. Loads in the background while others run, and lets the least recently used one go
when the memory budget is spent. Knows names and paths; knows nothing of requests.
"""

from __future__ import annotations

import gc
import logging
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import torch

from safelight.engine.checkpoint import count_weights
from safelight.engine.hints import Draw
from safelight.engine.lone import Lenders
from safelight.engine.model import CPU, Model
from safelight.engine.tuning import tuned
from safelight.errors import EngineFailed, Invalid, SafelightError

log = logging.getLogger(__name__)

REMEMBER_FAILURE = 30.0  # seconds before a checkpoint that would not load is tried again


class State(StrEnum):
    """Where a checkpoint is."""

    on_disk = "on disk"
    loading = "loading"
    loaded = "loaded"
    failed = "failed"


@dataclass(frozen=True, slots=True)
class Listing:
    """One line of ``safelight models list``."""

    name: str
    bytes: int  # in memory, once loaded; 0 when the file cannot be read
    state: State
    default: bool


class Shelf:
    """Checkpoints by name, as many in memory as the budget allows."""

    def __init__(
        self,
        checkpoints: Mapping[str, Path],
        default: str,
        *,
        budget_bytes: int | None = None,
        device: torch.device = CPU,
        dtype: torch.dtype | None = torch.float32,
        loras: Mapping[str, Path] | None = None,
        embeddings: Mapping[str, Path] | None = None,
        controlnets: Mapping[str, Path] | None = None,
        onlookers: Mapping[str, Draw] | None = None,
        lenders: Lenders | None = None,
        openvino: bool = False,
        tuning_path: Path | None = None,
        compiled_path: Path | None = None,
        patience: float = 30.0,
    ) -> None:
        """Without ``dtype``, number type, runtime, layout and threads are picked by a probe that ``tuning_path`` remembers.

        ``openvino`` is the runtime where ``dtype`` is given; ``compiled_path`` is a folder for what it traces.
        ``patience``: seconds a load waits for running work to let an evicted model go, before it goes ahead.
        """
        self._paths = dict(checkpoints)
        self._default = default
        self._budget = budget_bytes
        self._dtype = dtype
        self._device = device
        self._openvino = openvino
        self._tuning_path = tuning_path
        self._compiled_path = compiled_path
        self._loras = dict(loras or {})
        self._files: dict[str, Any] = {"loras": self._loras, "embeddings": embeddings, "controlnets": controlnets}
        self._files["onlookers"] = onlookers  # the same for all checkpoints
        self._lenders = lenders or {}  # folders, by family, of what a transformer that comes alone lacks
        self._guests: set[str] = set()
        self._patience = patience
        self._changed = threading.Condition(threading.RLock())
        self._loaded: OrderedDict[str, Model] = OrderedDict()  # least recently used first
        self._loading: dict[str, Future[Model]] = {}
        self._failed: dict[str, tuple[float, SafelightError]] = {}
        self._leaving: dict[int, int] = {}  # id of an evicted model that someone still holds -> its bytes
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="shelf")  # one load at a time keeps the sum honest

    def get(self, name: str | None) -> Model | None:
        """The model, or None while it loads in the background; a load that failed is told to everyone who asks."""
        name = self._known(name)
        with self._changed:
            if name in self._loaded:
                self._loaded.move_to_end(name)
                return self._loaded[name]
            self._raise_recent_failure(name)
            self._start(name)
            return None

    def wait(self, name: str | None) -> Model:
        """The model, however long it takes to load."""
        name = self._known(name)
        with self._changed:
            model = self.get(name)
            loading = self._loading.get(name)
        return model or loading.result()  # type: ignore[union-attr]  # get() has just started it

    def names(self) -> list[Listing]:
        return [Listing(name, self._size(name), self._state(name), name == self._default) for name in list(self._paths)]

    def held(self) -> list[Listing]:
        """What is in memory, on its way there, or would not come. Reads no file."""
        with self._changed:
            names = dict.fromkeys([*self._loaded, *self._loading, *self._failed])
            return [Listing(name, self._bytes(name), self._state(name), name == self._default) for name in names]

    def add(self, name: str, path: Path) -> None:
        """A checkpoint that came later and may go. It runs as the default one does: nothing about it is remembered in files."""
        with self._changed:
            self._paths[name] = path
            self._guests.add(name)

    def add_lora(self, name: str, path: Path) -> None:
        self._loras[name] = path

    def remove(self, name: str) -> None:
        """A checkpoint or LoRA that came later: out of memory as soon as no running work holds it, and never loaded again."""
        with self._changed:
            self._paths.pop(name, None)
            self._guests.discard(name)
            self._failed.pop(name, None)
            self._let_go(name)
            models = list(self._loaded.values())
        self._loras.pop(name, None)
        for model in models:
            model.forget_lora(name)
        gc.collect()  # modules hold cycles

    def close(self) -> None:
        """Let every model go; a load under way is finished and dropped."""
        self._loader.shutdown(wait=True, cancel_futures=True)
        with self._changed:
            self._loaded.clear()

    def _known(self, name: str | None) -> str:
        name = name or self._default
        if name not in self._paths:
            raise Invalid("model_id", "is not a model on this server")
        return name

    def _raise_recent_failure(self, name: str) -> None:
        when, error = self._failed.get(name, (0.0, None))
        if error and time.monotonic() - when < REMEMBER_FAILURE:
            raise error
        self._failed.pop(name, None)

    def _start(self, name: str) -> None:
        if name not in self._loading:
            self._loading[name] = self._loader.submit(self._load, name)

    def _load(self, name: str) -> Model:
        try:
            size = self._size(name)
            self._make_room(name, size)
            ways = self._ways(name) | {"kept": self._compiled_path}
            if ways["openvino"] and self._budget is not None and 2 * size > self._budget:
                log.warning("no room for compiled networks in the memory budget; torch runs it", extra={"model": name})
                ways["openvino"] = False
            if ways["openvino"]:
                self._make_room(name, 2 * size)  # at most: see Model.bytes
            ways |= {"device": self._device, "lenders": self._lenders}
            model = Model.load(self._paths[name], name, **ways, **self._files)
        except Exception as error:
            failure = error if isinstance(error, SafelightError) else EngineFailed(f"The model {name} cannot be loaded")
            log.warning("model not loaded", exc_info=error, extra={"model": name})
            with self._changed:
                self._failed[name] = (time.monotonic(), failure)
                del self._loading[name]
            raise failure from error
        with self._changed:
            del self._loading[name]
            if name in self._paths:
                self._loaded[name] = model
        return model

    def _ways(self, name: str) -> dict[str, Any]:
        """How this checkpoint is to run. The thread count holds for threads that start later, the engine's among them."""
        if self._dtype is not None:
            return {"dtype": self._dtype, "openvino": self._openvino}
        if name in self._guests:
            return self._ways(self._default) | {"openvino": False}
        kept, memory = self._compiled_path, self._tuning_path
        tuning = tuned(name, self._paths[name], self._device, memory, kept, self._lenders)
        torch.set_num_threads(tuning.threads)
        return tuning.options

    def _make_room(self, name: str, need: int) -> None:
        budget = self._budget
        if budget is None:
            return
        if need > budget:
            raise EngineFailed(f"The model {name} needs {need >> 20} MiB; the memory budget is {budget >> 20} MiB")
        while self._held() + need > budget and self._evict():
            gc.collect()  # modules hold cycles; without this the weights linger
        with self._changed:
            if not self._changed.wait_for(lambda: self._held() + need <= budget, self._patience):
                log.warning("memory budget exceeded: running work still holds a model", extra={"model": name})

    def _held(self) -> int:
        with self._changed:
            return sum(model.bytes for model in self._loaded.values()) + sum(self._leaving.values())

    def _evict(self) -> bool:
        with self._changed:
            if not self._loaded:
                return False
            self._let_go(next(iter(self._loaded)))
            return True

    def _let_go(self, name: str) -> None:
        with self._changed:
            if (model := self._loaded.pop(name, None)) is not None:
                self._leaving[id(model)] = model.bytes
                weakref.finalize(model, self._gone, id(model))

    def _gone(self, key: int) -> None:
        with self._changed:
            self._leaving.pop(key, None)
            self._changed.notify_all()

    def _bytes(self, name: str) -> int:
        """In memory."""
        with self._changed:
            return self._loaded[name].bytes if name in self._loaded else 0

    def _size(self, name: str) -> int:
        if taken := self._bytes(name):
            return taken
        try:
            return count_weights(self._paths[name], self._lenders) * (self._dtype or torch.float32).itemsize
        except (EngineFailed, OSError):
            return 0

    def _state(self, name: str) -> State:
        with self._changed:
            if name in self._loaded:
                return State.loaded
            if name in self._loading:
                return State.loading
            return State.failed if name in self._failed else State.on_disk
