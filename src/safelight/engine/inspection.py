"""What a checkpoint is, told by its headers and small JSON files alone: its kind, its tasks, its size and what it lacks.

No weight is loaded: the modules that its files describe are outlined without memory and compared with the headers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safelight.engine.checkpoint import READERS, class_name, part_of, present, read_family, weight_files
from safelight.engine.components import find_in, outline
from safelight.engine.families.family import Classes
from safelight.engine.families.instruct_pix2pix import EDITING, InstructPix2Pix
from safelight.engine.families.stable_diffusion import StableDiffusion
from safelight.engine.single_file import CLIP_1, CLIP_XL, OPEN_CLIP_2, OPEN_CLIP_XL, UNET, VAE
from safelight.engine.weights import Config, TensorEntry, read_config, read_header
from safelight.errors import EngineFailed

Entries = Mapping[str, TensorEntry]


@dataclass(frozen=True, slots=True)
class PartFound:
    """One part of a checkpoint: how many numbers it holds, and what is wrong with it, if anything is."""

    name: str
    weights: int
    lacks: str = ""


@dataclass(frozen=True, slots=True)
class Inspection:
    family: str
    tasks: tuple[str, ...]
    parts: tuple[PartFound, ...]

    @property
    def weights(self) -> int:
        return sum(part.weights for part in self.parts)

    @property
    def apart(self) -> dict[str, int]:
        """Numbers of the encoders, of the denoiser and of the autoencoder."""
        found = {"encoders": 0, "denoiser": 0, "autoencoder": 0}
        for part in self.parts:
            found[part_of(part.name)] += part.weights
        return found

    @property
    def whole(self) -> bool:
        return not any(part.lacks for part in self.parts)


def inspect(path: Path) -> Inspection:
    """Raises EngineFailed for what is no checkpoint at all, or one of a kind that is not run here."""
    return _folder(path) if path.is_dir() else _single_file(path)


def _folder(folder: Path) -> Inspection:
    index = read_config(folder / "model_index.json")
    family = read_family(index)
    wanted = family.classes | {name: kinds for name, kinds in family.optional.items() if present(index, name)}
    parts = tuple(_part(folder / name, index, wanted) for name in wanted)
    config = folder / family.denoiser / "config.json"
    tasks = family.tasks(read_config(config)) if config.exists() else ()
    return Inspection(family.__name__, tasks, parts)


def _part(folder: Path, index: Config, wanted: Classes) -> PartFound:
    weights = 0
    try:
        kind = wanted[folder.name][class_name(index, folder.name, wanted)]
        if folder.name.startswith(READERS):
            return PartFound(folder.name, 0, "" if any(folder.glob("*.json")) else "its files are not there")
        entries = {name: entry for path in weight_files(folder) for name, entry in read_header(path).tensors.items()}
        weights = sum(entry.elements for entry in entries.values())
        return PartFound(folder.name, weights, unfit(kind, read_config(folder / "config.json"), entries))
    except EngineFailed as error:
        return PartFound(folder.name, weights, str(error))


def unfit(kind: Any, config: Config, entries: Entries) -> str:
    """In which weights the files and what the configuration describes differ; empty where they do not."""
    find = find_in(entries)
    wanted = {name: tuple(tensor.shape) for name, tensor in outline(kind, config).state_dict().items()}
    found = {name: find(name) for name in wanted}
    missing = [name for name, entry in found.items() if entry is None]
    others = [name for name, entry in found.items() if entry is not None and entry.shape != wanted[name]]
    said = [f"{len(missing)} weights are not there, {missing[0]} for one"] if missing else []
    said += [f"{len(others)} weights are of another shape, {others[0]} for one"] if others else []
    return "; ".join(said)


def _single_file(path: Path) -> Inspection:
    entries = read_header(path).tensors
    first = entries.get(f"{UNET}input_blocks.0.0.weight")
    texts = [prefix for prefix in (CLIP_1, OPEN_CLIP_2, CLIP_XL, OPEN_CLIP_XL) if _under(entries, prefix)]
    parts = [_prefixed(entries, "unet", UNET), _prefixed(entries, "vae", VAE)]
    parts += [_prefixed(entries, "text encoder", prefix) for prefix in texts]
    if not texts:
        parts.append(PartFound("text encoder", 0, "it is not there"))
    channels = first.shape[1] if first is not None and len(first.shape) == 4 else 4
    family = InstructPix2Pix if channels == EDITING else StableDiffusion
    return Inspection(family.__name__, family.tasks({"in_channels": channels}), tuple(parts))


def _under(entries: Entries, prefix: str) -> int:
    return sum(entry.elements for name, entry in entries.items() if name.startswith(prefix))


def _prefixed(entries: Entries, name: str, prefix: str) -> PartFound:
    weights = _under(entries, prefix)
    return PartFound(name, weights, "" if weights else f"no tensor's name begins with {prefix}")
