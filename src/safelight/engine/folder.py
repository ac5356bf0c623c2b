"""Reads a checkpoint's folder in the diffusers layout: model_index.json, and one folder for each part.

Weights are safetensors only; a folder that holds pickles alone is refused. Reaches no network.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from diffusers import SchedulerMixin
from torch import Tensor, nn

from safelight.engine.components import Components, build, find_in, scheduler_class
from safelight.engine.families import family_of
from safelight.engine.families.family import Classes, Family, Parts
from safelight.engine.weights import Config, ReadTensors, Weights, read_config, read_tensors
from safelight.errors import EngineFailed

INDEX, NOTES = "model_index.json", "safelight.json"
READERS = (
    "tokenizer",
    "processor",
    "feature_extractor",
)  # parts that are no networks: they make tensors of words and pictures


def read_folder(folder: Path, read: ReadTensors = read_tensors) -> Components:
    index = read_config(folder / INDEX)
    family = read_family(index)
    kinds = read_kinds(index, parts_of(family, index))
    return Components(
        family,
        Parts(
            networks={
                name: build(kind, *folder_part(folder / name, read)) for name, kind in kinds.items() if network(name)
            },
            tokenizers=read_tokenizers(folder, kinds),
            pipeline=index["_class_name"],
        ),
        *read_scheduler(folder, index),
        notes=read_config(folder / NOTES) if (folder / NOTES).exists() else {},
    )


def read_encoders(folder: Path) -> dict[str, nn.Module]:
    """The text encoders alone."""
    index = read_config(folder / INDEX)
    kinds = read_kinds(index, parts_of(read_family(index), index))
    texts = [name for name in kinds if name.startswith("text")]
    return {name: build(kinds[name], *folder_part(folder / name, read_tensors)) for name in texts}


def read_family(index: Config) -> type[Family]:
    """The kind of model that a model_index.json speaks of."""
    family = family_of(str(index.get("_class_name")))
    if family is None:
        raise EngineFailed(f"{index.get('_class_name')!r} is not a kind of checkpoint that Safelight can run")
    return family


def parts_of(family: type[Family], index: Config) -> Classes:
    """Those that the family must have, and those that this folder has beside."""
    return family.classes | {name: kinds for name, kinds in family.optional.items() if present(index, name)}


def present(index: Config, name: str) -> bool:
    return index.get(name) not in (None, [None, None])


def read_kinds(index: Config, parts: Classes) -> dict[str, Any]:
    """The class of each part."""
    return {name: parts[name][class_name(index, name, parts)] for name in parts}


def class_name(index: Config, name: str, allowed: Classes) -> str:
    entry = index.get(name)
    if not (isinstance(entry, list) and len(entry) == 2 and isinstance(entry[1], str)):
        raise EngineFailed(f"model_index.json does not say what its {name} is")
    if entry[0] not in ("diffusers", "transformers") or (name in allowed and entry[1] not in allowed[name]):
        raise EngineFailed(f"The checkpoint's {name} is of a class that Safelight does not run: {entry[1]!r}")
    return entry[1]


def network(name: str) -> bool:
    """Whether a part of that name has weights."""
    return not name.startswith(READERS)


def read_tokenizers(folder: Path, kinds: dict[str, Any]) -> dict[str, Any]:
    return {
        name: kind.from_pretrained(folder / name, local_files_only=True)
        for name, kind in kinds.items()
        if not network(name)
    }


def read_scheduler(folder: Path, index: Config, changes: Config | None = None) -> tuple[type[SchedulerMixin], Config]:
    kind = scheduler_class(class_name(index, "scheduler", {}))
    return kind, read_config(folder / "scheduler" / "scheduler_config.json") | (changes or {})


def folder_part(folder: Path, read: ReadTensors) -> tuple[Config, Callable[[str], Tensor | None]]:
    weights: Weights = {}
    for path in weight_files(folder):
        weights |= read(path)
    return read_config(folder / "config.json"), find_in(weights)


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of one component: one whole file, or its shards."""
    found = sorted(folder.glob("*.safetensors"))
    whole = [path for path in found if "-of-" not in path.name]
    if not found:
        pickled = any(folder.glob("*.bin")) or any(folder.glob("*.ckpt")) or any(folder.glob("*.pt"))
        why = "only in a pickled form, which can run code; convert it to safetensors" if pickled else "not at all"
        raise EngineFailed(f"The weights of {folder.name} are there {why}")
    preferred = sorted(whole, key=lambda path: (path.name.count("."), path.name))  # the full file before ".fp16."
    return preferred[:1] or [path for path in found if path.name.count(".") == 1] or found
