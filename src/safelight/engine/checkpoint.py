"""Opens a checkpoint without trusting it: a folder in the diffusers layout, or a single file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from safelight.engine.components import Components
from safelight.engine.containers import read_header, read_tensors
from safelight.engine.folder import INDEX, network, read_encoders, read_family, read_folder, weight_files
from safelight.engine.lone import Lenders, layout_of, lent_files, read_lone, read_lone_encoders
from safelight.engine.memory import EncoderPlace, Footprint
from safelight.engine.quantised import Bits, bytes_of, shrinks
from safelight.engine.single_file import part_of_key, read_single_encoders, read_single_file
from safelight.engine.weights import ReadTensors, TensorEntry, read_config


def part_of(name: str) -> str:
    """Which of the three things that take memory a network is of, by its name in a diffusers folder."""
    return "autoencoder" if name == "vae" else "encoders" if name.startswith("text") else "denoiser"


def read_components(path: Path, read: ReadTensors = read_tensors, lenders: Lenders | None = None) -> Components:
    """The checkpoint at ``path``. ``lenders`` are the folders, by family, of what a transformer that comes alone lacks."""
    if path.is_dir():
        return read_folder(path, read)
    if layout := layout_of(path):
        return read_lone(path, layout, lenders or {}, read)
    return read_single_file(path, read)


def read_again(path: Path, lenders: Lenders | None = None) -> dict[str, nn.Module]:
    """Its text encoders alone, by their names in a diffusers folder."""
    if path.is_dir():
        return read_encoders(path)
    if layout := layout_of(path):
        return read_lone_encoders(path, layout, lenders or {})
    return read_single_encoders(path)


@dataclass(slots=True)
class Counted:
    """How many numbers the three parts of a checkpoint hold."""

    encoders: int = 0
    denoiser: int = 0
    autoencoder: int = 0
    repeated: int = 0  # of the denoiser's, those that may rest in fewer bits

    def footprint(self, size: int, place: EncoderPlace, bits: Bits) -> Footprint:
        """With ``size`` bytes to a number."""
        denoiser = bytes_of(self.denoiser, self.repeated, size, bits)
        return Footprint(size * self.encoders, denoiser, size * self.autoencoder, place)


def count_weights(path: Path, lenders: Lenders | None = None) -> Counted:
    """Told by headers alone."""
    found = Counted()
    for part, name, entry in _entries(path, lenders or {}):
        setattr(found, part, getattr(found, part) + entry.elements)
        if part == "denoiser" and shrinks(name, entry.shape):
            found.repeated += entry.elements
    return found


def _entries(path: Path, lenders: Lenders) -> Iterator[tuple[str, str, TensorEntry]]:
    """Each tensor with the part that it is of."""
    if path.is_dir():
        family = read_family(read_config(path / INDEX))
        names = [name for name in family.classes | family.optional if network(name) and (path / name).is_dir()]
        files = [file for name in names for file in weight_files(path / name)]
    else:
        yield from ((part_of_key(name), name, entry) for name, entry in read_header(path).tensors.items())
        files = lent_files(path, lenders)
    for file in files:
        yield from ((part_of(file.parent.name), name, entry) for name, entry in read_header(file).tensors.items())
