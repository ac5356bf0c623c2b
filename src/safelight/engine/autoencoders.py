"""Autoencoders that stand in for a checkpoint's own, where a request names one: read from files and built like that one.

Only the weights are the file's. How latents are measured is what the denoiser learned, so that stays the checkpoint's.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from safelight.engine.beside import Networks
from safelight.engine.components import build, find_in
from safelight.engine.families.autoencoder import Autoencoder, Place
from safelight.engine.families.family import Family
from safelight.engine.folder import weight_files
from safelight.engine.single_file import VAE, Part, find_vae
from safelight.engine.weights import ReadTensors, Weights, read_tensors
from safelight.errors import EngineFailed

FIELD = "vae"
KEPT = 2  # in memory for each checkpoint; the least recently used goes
FIRST = "decoder.conv_in.weight"  # under which every layout has it, behind a prefix or none
PREFIXES = ("", VAE, "vae.")


class Autoencoders:
    """Those that one checkpoint may use, by name."""

    def __init__(self, paths: Mapping[str, Path], family: Family, place: Place) -> None:
        self._family = family
        self.networks = Networks(paths, partial(read_for, family), place, KEPT, FIELD, "an autoencoder")

    def get(self, name: str) -> Autoencoder:
        """Raises Invalid for one that is not here or does not fit."""
        return self._family.autoencoder_of(self.networks.get(name))


def has_autoencoder(names: Collection[str]) -> bool:
    """Among tensors of these names."""
    return any(prefix + FIRST in names for prefix in PREFIXES)


def read_for(family: Family, path: Path, read: ReadTensors = read_tensors) -> nn.Module:
    """From a diffusers folder, or a single file in diffusers' or the original layout. Raises EngineFailed for what does not fit."""
    own: Any = family.networks["vae"]
    weights: Weights = {}
    for file in weight_files(path) if path.is_dir() else [path]:
        weights |= read(file)
    find = _find(weights, own.config)
    first, channels = find(FIRST), family.autoencoder.channels
    if first is None:
        raise EngineFailed("it is no autoencoder in a layout that this server knows")
    if first.shape[1] != channels:
        raise EngineFailed(f"its latents have {first.shape[1]} channels, the checkpoint's {channels}")
    try:
        return build(type(own), own.config, find)
    except EngineFailed as error:
        raise EngineFailed("it is built otherwise than the checkpoint's own") from error


def _find(weights: Weights, config: Mapping[str, Any]) -> Callable[[str], Tensor | None]:
    levels = len(config.get("block_out_channels", ()))
    ways = [find_in(weights), *(find_vae(Part(weights, prefix), levels) for prefix in PREFIXES)]

    def find(name: str) -> Tensor | None:
        return next((tensor for way in ways if (tensor := way(name)) is not None), None)

    return find
