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
from safelight.engine.memory import EncoderPlace, Footprint, encoder_place, together
from safelight.engine.model import CPU, Model
from safelight.engine.quantised import Bits
from safelight.engine.remembered import Remembered
from safelight.engine.tuning import Tuning, tuned
from safelight.errors import EngineFailed, Invalid, SafelightError

log = logging.getLogger(__name__)

REMEMBER_FAILURE = 30.0  # seconds before a checkpoint that would not load is tried again
NOTHING = Footprint(0, 0, 0)


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
    footprint: Footprint  # once loaded; nothing when the file cannot be read
    state: State
    default: bool

    @property
    def bytes(self) -> int:
        return self.footprint.stays


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
        vaes: Mapping[str, Path] | None = None,
        onlookers: Mapping[str, Draw] | None = None,
        lenders: Lenders | None = None,
        encoders: EncoderPlace = EncoderPlace.device,
        weights: Bits = Bits.native,
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
        self._timed = Remembered(tuning_path)
        self._threads = torch.get_num_threads()  # before any checkpoint has its way
        self._compiled_path = compiled_path
        self._loras, self._controlnets = dict(loras or {}), dict(controlnets or {})
        self._words, self._vaes = dict[str, Path](), dict(vaes or {})
        self._files: dict[str, Any] = {
            "loras": self._loras, "embeddings": embeddings, "controlnets": self._controlnets, "words": self._words,
            "vaes": self._vaes,
        }  # fmt: skip
        self._files["onlookers"] = onlookers  # the same for all checkpoints
        self._lenders = lenders or {}  # folders, by family, of what a transformer that comes alone lacks
        self._encoders = encoder_place(encoders, device)
        self._weights = weights
        self._guests: set[str] = set()
        self._patience = patience
        self._changed = threading.Condition(threading.RLock())
        self._loaded: OrderedDict[str, Model] = OrderedDict()  # least recently used first
        self._loading: dict[str, Future[Model]] = {}
        self._failed: dict[str, tuple[float, SafelightError]] = {}
        self._leaving: dict[int, Footprint] = {}  # by id, evicted models that someone still holds
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
        return [
            Listing(name, self._footprint(name), self._state(name), name == self._default) for name in list(self._paths)
        ]

    def held(self) -> list[Listing]:
        """What is in memory, on its way there, or would not come. Reads no file."""
        with self._changed:
            names = dict.fromkeys([*self._loaded, *self._loading, *self._failed])
            return [Listing(name, self._taken(name), self._state(name), name == self._default) for name in names]

    def add(self, name: str, path: Path) -> None:
        """A checkpoint that came later and may go. It runs as the default one does: nothing about it is remembered in files."""
        with self._changed:
            self._paths[name] = path
            self._guests.add(name)

    def add_lora(self, name: str, path: Path) -> None:
        self._loras[name] = path

    def add_controlnet(self, name: str, path: Path) -> None:
        self._controlnets[name] = path

    def add_embedding(self, name: str, path: Path) -> None:
        self._words[name] = path

    def add_vae(self, name: str, path: Path) -> None:
        self._vaes[name] = path

    def remove(self, name: str) -> None:
        """Whatever came later: out of memory as soon as no running work holds it, and never loaded again."""
        with self._changed:
            self._paths.pop(name, None)
            self._guests.discard(name)
            self._failed.pop(name, None)
            self._let_go(name)
            models = list(self._loaded.values())
        for names in (self._loras, self._controlnets, self._words, self._vaes):
            names.pop(name, None)
        for model in models:
            model.forget(name)
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
            footprint = self._footprint(name)
            self._make_room(name, footprint)
            ways = self._ways(name) | {"kept": self._compiled_path}
            ways |= {"encoders": self._encoders, "weights": self._weights}
            ways["openvino"] = ways["openvino"] and self._weights == Bits.native
            if ways["openvino"] and self._budget is not None and together([footprint.compiled]) > self._budget:
                log.warning("no room for compiled networks in the memory budget; torch runs it", extra={"model": name})
                ways["openvino"] = False
            if ways["openvino"]:
                self._make_room(name, footprint.compiled)  # at most: not every family is compiled
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
        """How this checkpoint is to run."""
        if self._dtype is not None:
            return {"dtype": self._dtype, "openvino": self._openvino}
        tuning = self._tuned(self._default, threads=self._threads)
        torch.set_num_threads(tuning.threads)  # of threads that begin to compute from now on, the engine's among them
        if name in self._guests:
            return tuning.options | {"openvino": False}
        return (tuning if name == self._default else self._tuned(name, threads=tuning.threads, free=False)).options

    def _tuned(self, name: str, *, threads: int, free: bool = True) -> Tuning:
        """The default checkpoint chooses the thread count for all: one that changed with what is loaded would change bits."""
        return tuned(
            name, self._paths[name], self._device, self._timed,
            threads=threads, free=free, kept=self._compiled_path, lenders=self._lenders,
        )  # fmt: skip

    def _make_room(self, name: str, footprint: Footprint) -> None:
        budget = self._budget
        if budget is None:
            return
        if (need := together([footprint])) > budget:
            raise EngineFailed(f"The model {name} needs {need >> 20} MiB; the memory budget is {budget >> 20} MiB")
        while self._with(footprint) > budget and self._evict():
            gc.collect()  # modules hold cycles; without this the weights linger
        with self._changed:
            if not self._changed.wait_for(lambda: self._with(footprint) <= budget, self._patience):
                log.warning("memory budget exceeded: running work still holds a model", extra={"model": name})

    def _with(self, footprint: Footprint) -> int:
        """What would be taken."""
        with self._changed:
            loaded = [model.footprint for model in self._loaded.values()]
            return together([*loaded, *self._leaving.values(), footprint])

    def _evict(self) -> bool:
        with self._changed:
            if not self._loaded:
                return False
            self._let_go(next(iter(self._loaded)))
            return True

    def _let_go(self, name: str) -> None:
        with self._changed:
            if (model := self._loaded.pop(name, None)) is not None:
                self._leaving[id(model)] = model.footprint
                weakref.finalize(model, self._gone, id(model))

    def _gone(self, key: int) -> None:
        with self._changed:
            self._leaving.pop(key, None)
            self._changed.notify_all()

    def _taken(self, name: str) -> Footprint:
        """In memory."""
        with self._changed:
            return self._loaded[name].footprint if name in self._loaded else NOTHING

    def _footprint(self, name: str) -> Footprint:
        if (taken := self._taken(name)) is not NOTHING:
            return taken
        size = (self._dtype or (torch.bfloat16 if self._device.type == "cuda" else torch.float32)).itemsize
        try:
            counted = count_weights(self._paths[name], self._lenders)
            return counted.footprint(size, self._encoders, self._weights)
        except (EngineFailed, OSError):
            return NOTHING

    def _state(self, name: str) -> State:
        with self._changed:
            if name in self._loaded:
                return State.loaded
            if name in self._loading:
                return State.loading
            return State.failed if name in self._failed else State.on_disk
