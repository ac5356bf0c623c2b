"""Opens a checkpoint without trusting it: a folder in the diffusers layout, or a single file."""

from __future__ import annotations

from pathlib import Path

from safelight.engine.components import Components
from safelight.engine.folder import INDEX, network, read_family, read_folder, weight_files
from safelight.engine.lone import Lenders, layout_of, lent_files, read_lone
from safelight.engine.single_file import read_single_file
from safelight.engine.weights import ReadTensors, read_config, read_header, read_tensors


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


def count_weights(path: Path, lenders: Lenders | None = None) -> int:
    """How many numbers the checkpoint holds, told by its headers alone."""
    files = [path, *lent_files(path, lenders or {})]
    if path.is_dir():
        family = read_family(read_config(path / INDEX))
        names = [name for name in family.classes | family.optional if network(name)]
        files = [file for name in names if (path / name).is_dir() for file in weight_files(path / name)]
    return sum(entry.elements for file in files for entry in read_header(file).tensors.values())
