"""What a checkpoint is, told by its headers and small JSON files alone: its kind, its tasks, its size and what it lacks.

No weight is loaded: the modules that its files describe are outlined without memory and compared with the headers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safelight.engine.checkpoint import part_of
from safelight.engine.components import find_in, outline
from safelight.engine.containers import outlined_tensors, read_header
from safelight.engine.families.family import Classes, Family
from safelight.engine.families.instruct_pix2pix import EDITING, InstructPix2Pix
from safelight.engine.families.stable_diffusion import StableDiffusion
from safelight.engine.folder import INDEX, class_name, network, parts_of, read_family, weight_files
from safelight.engine.lone import TRANSFORMER, Find, Lenders, Lone, inner, lacking, layout_of
from safelight.engine.single_file import CLIP_1, CLIP_XL, OPEN_CLIP_2, OPEN_CLIP_XL, UNET, VAE
from safelight.engine.weights import Config, TensorEntry, Weights, read_config
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
    pictures: int  # that one instruction may speak of, where it edits by instruction
    row: int | None  # bytes that a row of a call takes beside the weights, at 512 by 512 pixels in float32

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


def inspect(path: Path, lenders: Lenders | None = None) -> Inspection:
    """Raises EngineFailed for what is no checkpoint at all, or one of a kind that is not run here.

    ``lenders`` are the folders, by family, of what a transformer that comes alone lacks.
    """
    if path.is_dir():
        return _folder(path)
    layout = layout_of(path)
    return _lone(Lone(path, layout, lenders or {}, outlined_tensors(path))) if layout else _single_file(path)


def _folder(folder: Path) -> Inspection:
    index = read_config(folder / INDEX)
    family = read_family(index)
    wanted = parts_of(family, index)
    parts = tuple(_part(folder / name, index, wanted) for name in wanted)
    file = folder / family.denoiser / "config.json"
    if not file.exists():
        return Inspection(family.__name__, (), parts, family.most_pictures, None)
    return _found(family, read_config(file), parts)


def _found(family: type[Family], config: Config, parts: tuple[PartFound, ...]) -> Inspection:
    """``config`` is the denoiser's."""
    return Inspection(family.__name__, family.tasks(config), parts, family.most_pictures, family.row_bytes(config))


def _lone(lone: Lone) -> Inspection:
    kind, config, find = lone.transformer()
    lacks = unfit(kind, config, find) if lone.folder else ""
    parts = [PartFound(TRANSFORMER, _numbers(lone.weights.tensors), lacks)]
    for name in [name for name in lone.parts if name != TRANSFORMER]:
        own = lone.inside.get(name)
        if lone.folder is None:
            parts.append(PartFound(name, _numbers(own or {}), lacking(lone.family)))
        else:
            parts.append(_part(lone.folder / name, lone.index, lone.parts, own))
    return _found(lone.family, config, tuple(parts))


def _part(folder: Path, index: Config, wanted: Classes, own: Weights | None = None) -> PartFound:
    """``own`` are its weights where they are not in its folder."""
    weights = 0
    try:
        kind = wanted[folder.name][class_name(index, folder.name, wanted)]
        if not network(folder.name):
            return PartFound(folder.name, 0, "" if any(folder.glob("*.json")) else "its files are not there")
        found = own or {
            name: tensor for path in weight_files(folder) for name, tensor in outlined_tensors(path).items()
        }
        weights = _numbers(found)
        config, find = inner(folder, found) if own else (read_config(folder / "config.json"), find_in(found))
        return PartFound(folder.name, weights, unfit(kind, config, find))
    except EngineFailed as error:
        return PartFound(folder.name, weights, str(error))


def unfit(kind: Any, config: Config, find: Find) -> str:
    """In which weights the files and what the configuration describes differ; empty where they do not."""
    wanted = {name: tuple(tensor.shape) for name, tensor in outline(kind, config).state_dict().items()}
    found = {name: find(name) for name in wanted}
    missing = [name for name, tensor in found.items() if tensor is None]
    others = [name for name, tensor in found.items() if tensor is not None and tensor.shape != wanted[name]]
    said = [f"{len(missing)} weights are not there, {missing[0]} for one"] if missing else []
    said += [f"{len(others)} weights are of another shape, {others[0]} for one"] if others else []
    return "; ".join(said)


def _numbers(weights: Weights) -> int:
    return sum(tensor.numel() for tensor in weights.values())


def _single_file(path: Path) -> Inspection:
    entries = read_header(path).tensors
    first = entries.get(f"{UNET}input_blocks.0.0.weight")
    texts = [prefix for prefix in (CLIP_1, OPEN_CLIP_2, CLIP_XL, OPEN_CLIP_XL) if _under(entries, prefix)]
    parts = [_prefixed(entries, "unet", UNET), _prefixed(entries, "vae", VAE)]
    parts += [_prefixed(entries, "text encoder", prefix) for prefix in texts]
    if not texts:
        parts.append(PartFound("text encoder", 0, "it is not there"))
    width, channels = first.shape[:2] if first is not None and len(first.shape) == 4 else (0, 4)
    attends = "CrossAttn" if _under(entries, f"{UNET}input_blocks.1.1.") else ""
    config = {"in_channels": channels, "block_out_channels": [width], "down_block_types": [f"{attends}DownBlock2D"]}
    return _found(InstructPix2Pix if channels == EDITING else StableDiffusion, config, tuple(parts))


def _under(entries: Entries, prefix: str) -> int:
    return sum(entry.elements for name, entry in entries.items() if name.startswith(prefix))


def _prefixed(entries: Entries, name: str, prefix: str) -> PartFound:
    weights = _under(entries, prefix)
    return PartFound(name, weights, "" if weights else f"no tensor's name begins with {prefix}")
