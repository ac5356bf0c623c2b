"""Networks of the operator's that look at a picture and draw a hint for a ControlNet of it: read from folders as
transformers writes them, once they are first asked. Knows nothing of what they see, of ControlNets or of requests.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers.utils import logging

from safelight.engine.components import MISFITS
from safelight.engine.folder import weight_files
from safelight.engine.generation import Pixels
from safelight.engine.weights import Config, read_config, read_header
from safelight.errors import EngineFailed


class Onlooker(ABC):
    """Any thread may ask, one at a time. It computes in float32."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._turn = threading.Lock()
        self._ready = False

    @torch.no_grad()
    def __call__(self, picture: Pixels) -> Pixels:
        """The hint, of the same size."""
        with self._turn:
            if not self._ready:
                self.read()
                self._ready = True
            return self.draw(picture)

    @abstractmethod
    def read(self) -> None:
        """Its networks, from their folders. Raises EngineFailed."""

    @abstractmethod
    def draw(self, picture: Pixels) -> Pixels: ...

    def network(self, folder: Path, what: str, classes: Mapping[str, Any]) -> Any:
        """The network in a folder, of one of these classes."""
        config = read_config(folder / "config.json")
        kind = classes.get(str(next(iter(config.get("architectures") or []), None)))
        if kind is None or _elsewhere(config):
            raise EngineFailed(f"{folder.name} is not a {what} that Safelight runs: {', '.join(classes)}")
        return _read(kind, folder).to(self._device)


def _read(kind: Any, folder: Path) -> Any:
    """By transformers' own reader, which knows what names the weights had in its earlier versions."""
    for file in weight_files(folder):
        read_header(file)
    logging.disable_progress_bar()
    try:
        network, told = kind.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype=torch.float32, output_loading_info=True
        )
    except MISFITS as error:
        raise EngineFailed(f"{folder.name} does not describe a network that its weights fit") from error
    if missing := sorted(told["missing_keys"]):
        raise EngineFailed(f"{folder.name} lacks {len(missing)} weights, {missing[0]} for one")
    return network.requires_grad_(False).eval()


def _elsewhere(config: Config) -> bool:
    """Whether part of the network is to come from a hub."""
    return bool(config.get("use_pretrained_backbone") or config.get("use_timm_backbone"))
