"""Reads a transformer that comes alone in one file, as FLUX.1, Stable Diffusion 3, Z-Image and Qwen-Image are handed round.

What the file lacks (tokenizers, and mostly text encoders and autoencoder too) comes from a folder in the diffusers layout
that the operator names for the family; so does what shapes cannot tell. Reaches no network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from safelight.engine.components import MISFITS, Components, build, find_in
from safelight.engine.containers import outlined_tensors, read_tensors
from safelight.engine.families.family import Family, Parts
from safelight.engine.folder import (
    INDEX,
    folder_part,
    network,
    parts_of,
    read_kinds,
    read_scheduler,
    read_tokenizers,
    weight_files,
)
from safelight.engine.gguf_file import is_gguf
from safelight.engine.layouts import LAYOUTS, Layout, Renamed
from safelight.engine.single_file import Part, find_vae
from safelight.engine.weights import Config, ReadTensors, Weights, read_config
from safelight.errors import EngineFailed

Find = Callable[[str], Tensor | None]
Lenders = Mapping[str, Path]

TRANSFORMER = "transformer"
AUTOENCODERS = ("first_stage_model.", "vae.")  # before its names, where a file holds it
PROJECTION = "text_projection.weight"
PACKED = ("scaled_fp8", ".scale_weight", ".weight_scale", ".absmax")


class Lone:
    """Such a file, and the folder that lends to it."""

    def __init__(self, path: Path, layout: Layout, lenders: Lenders, tensors: Weights) -> None:
        if packed := next((name for name in tensors if name.endswith(PACKED)), None):
            raise EngineFailed(f"The file's weights are packed, {packed[:80]} says how; one in bf16, fp16 or fp8 loads")
        notes = path.with_suffix(".json")
        self.notes = read_config(notes) if notes.exists() else {}
        self.family = _family(layout, self.notes)
        self.folder = _lender(self.family, lenders)
        self.index = read_config(self.folder / INDEX) if self.folder else {}
        self.parts = parts_of(self.family, self.index)
        self.inside = _inside(layout, tensors)
        self.weights = Renamed(tensors, layout.original)
        self._layout = layout

    @property
    def lent(self) -> list[str]:
        """The networks beside the transformer: their weights are the folder's, but for those that are inside the file."""
        return [name for name in self.parts if network(name) and name != TRANSFORMER]

    def transformer(self) -> tuple[Any, Config, Find]:
        """Its class, its configuration and its weights."""
        (kind,) = self.family.classes[TRANSFORMER].values()
        config = self.folder and self.folder / TRANSFORMER / "config.json"
        told = read_config(config) if config and config.exists() else {}
        try:
            found = self._layout.infer(self.weights, told)
        except MISFITS as error:
            raise EngineFailed("The file does not hold a transformer of the kind that its names speak of") from error
        return kind, told | found, self.weights.get


def layout_of(path: Path) -> Layout | None:
    """None for a file that holds no transformer of the kinds that come alone."""
    tensors = outlined_tensors(path)
    layout = next((each for each in LAYOUTS if Renamed(tensors, each.original).get(each.mark) is not None), None)
    if layout is None and is_gguf(path):
        known = ", ".join(each.families[0].__name__ for each in LAYOUTS)
        raise EngineFailed(f"{path.name} holds none of the transformers that are read from GGUF: {known}")
    return layout


def read_lone(path: Path, layout: Layout, lenders: Lenders, read: ReadTensors = read_tensors) -> Components:
    lone = Lone(path, layout, lenders, read(path))
    if lone.folder is None:
        raise EngineFailed(f"The file holds a transformer alone; {lacking(lone.family)}")
    kinds = read_kinds(lone.index, lone.parts)
    kind, config, find = lone.transformer()
    networks = {TRANSFORMER: build(kind, config, find)} | _lent(lone, lone.folder, lone.lent, read)
    return Components(
        lone.family,
        Parts(networks, read_tokenizers(lone.folder, kinds), lone.family.pipelines[0]),
        *read_scheduler(lone.folder, lone.index, layout.scheduler(config)),
        notes=lone.notes,
    )


def read_lone_encoders(path: Path, layout: Layout, lenders: Lenders) -> dict[str, nn.Module]:
    """The text encoders alone, once the whole was read."""
    inside = tuple(layout.inside.values())
    lone = Lone(path, layout, lenders, read_tensors(path, lambda name: name.startswith(inside)))
    assert lone.folder is not None, "else nothing was read"
    return _lent(lone, lone.folder, [name for name in lone.lent if name.startswith("text")], read_tensors)


def _lent(lone: Lone, folder: Path, names: list[str], read: ReadTensors) -> dict[str, nn.Module]:
    """Those networks beside the transformer, wherever their weights are."""
    kinds, networks = read_kinds(lone.index, lone.parts), {}
    for name in names:
        own = lone.inside.get(name)
        part = folder_part(folder / name, read) if own is None else inner(folder / name, own)
        networks[name] = build(kinds[name], *part)
    return networks


def lent_files(path: Path, lenders: Lenders) -> list[Path]:
    """The files of the networks that a transformer at ``path`` does not bring itself."""
    layout = None if path.is_dir() else layout_of(path)
    lone = layout and Lone(path, layout, lenders, outlined_tensors(path))
    if not lone or lone.folder is None:
        return []
    return [file for name in lone.lent if name not in lone.inside for file in weight_files(lone.folder / name)]


def lacking(family: type[Family]) -> str:
    name = family.__name__
    return f'SAFELIGHT_COMPONENTS names the folder that lends it the rest, {{"{name}": "/path"}}, and names none for {name}'


def _lender(family: type[Family], lenders: Lenders) -> Path | None:
    """Kontext borrows from FLUX.1, where nothing is said of it."""
    return next((lenders[kind.__name__] for kind in family.__mro__ if kind.__name__ in lenders), None)


def _inside(layout: Layout, tensors: Weights) -> dict[str, Weights]:
    """The further networks that the file holds, by their names in a diffusers folder."""
    named = [("vae", before) for before in AUTOENCODERS] + list(layout.inside.items())
    return {name: _under(before, tensors) for name, before in named if any(key.startswith(before) for key in tensors)}


def inner(folder: Path, own: Weights) -> tuple[Config, Find]:
    """The configuration of such a network, and its weights."""
    config = read_config(folder / "config.json")
    if folder.name == "vae":
        return config, find_vae(Part(own, ""), len(config["block_out_channels"]))
    find = find_in(own)
    return config, lambda name: _unit(own) if name == PROJECTION and find(name) is None else find(name)


def _unit(own: Weights) -> Tensor | None:
    """CLIP's smaller model is handed round with Stable Diffusion 3 without its projection, which changes nothing there."""
    norm = find_in(own)("text_model.final_layer_norm.weight")
    return None if norm is None else torch.eye(len(norm))


def _under(before: str, tensors: Weights) -> Weights:
    return {name.removeprefix(before): tensor for name, tensor in tensors.items() if name.startswith(before)}


def _family(layout: Layout, notes: Config) -> type[Family]:
    """Kontext's files are like those of FLUX.1 dev to the last name; what is noted beside one decides."""
    said = notes.get("family", layout.families[0].__name__)
    family = next((each for each in layout.families if each.__name__ == said), None)
    if family is None:
        raise EngineFailed(f"The file is noted to be of the family {said!r}, and holds a {layout.families[0].__name__}")
    return family
