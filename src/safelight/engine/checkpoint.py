"""Opens a checkpoint, a folder in the diffusers layout or a single file, without trusting it.

Weights are safetensors only; a folder that holds pickles alone is refused. Reaches no network.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from safelight.engine.components import Components, build, find_in, scheduler_class
from safelight.engine.families import family_of
from safelight.engine.families.family import Classes, Family, Parts
from safelight.engine.single_file import read_single_file
from safelight.engine.weights import Config, ReadTensors, Weights, read_config, read_header, read_tensors
from safelight.errors import EngineFailed

NOTES = "safelight.json"
READERS = (
    "tokenizer",
    "processor",
    "feature_extractor",
)  # parts that are no networks: they make tensors of words and pictures


def part_of(name: str) -> str:
    """Which of the three things that take memory a network is of, by its name in a diffusers folder."""
    return "autoencoder" if name == "vae" else "encoders" if name.startswith("text") else "denoiser"


def read_components(path: Path, read: ReadTensors = read_tensors) -> Components:
    """The checkpoint at ``path``: a diffusers folder, or a single file in the original layout."""
    if path.is_dir():
        return read_folder(path, read)
    return read_single_file(path, read)


def count_weights(path: Path) -> int:
    """How many numbers the checkpoint holds, told by its headers alone."""
    files = [path]
    if path.is_dir():
        family = read_family(read_config(path / "model_index.json"))
        names = [name for name in family.classes | family.optional if not name.startswith(READERS)]
        files = [file for name in names if (path / name).is_dir() for file in weight_files(path / name)]
    return sum(entry.elements for file in files for entry in read_header(file).tensors.values())


def read_folder(folder: Path, read: ReadTensors = read_tensors) -> Components:
    """A folder in the diffusers layout: model_index.json and one folder for each component."""
    index = read_config(folder / "model_index.json")
    family = read_family(index)
    wanted = family.classes | {name: kinds for name, kinds in family.optional.items() if present(index, name)}
    kinds = {name: wanted[name][class_name(index, name, wanted)] for name in wanted}
    readers = {name: kind for name, kind in kinds.items() if name.startswith(READERS)}
    networks = {name: kind for name, kind in kinds.items() if name not in readers}
    return Components(
        family,
        Parts(
            networks={name: build(kind, *folder_part(folder / name, read)) for name, kind in networks.items()},
            tokenizers={
                name: kind.from_pretrained(folder / name, local_files_only=True) for name, kind in readers.items()
            },
            pipeline=index["_class_name"],
        ),
        scheduler_class=scheduler_class(class_name(index, "scheduler", {})),
        scheduler_config=read_config(folder / "scheduler" / "scheduler_config.json"),
        notes=read_config(folder / NOTES) if (folder / NOTES).exists() else {},
    )


def read_family(index: Config) -> type[Family]:
    """The kind of model that a model_index.json speaks of."""
    family = family_of(str(index.get("_class_name")))
    if family is None:
        raise EngineFailed(f"{index.get('_class_name')!r} is not a kind of checkpoint that Safelight can run")
    return family


def present(index: Config, name: str) -> bool:
    return index.get(name) not in (None, [None, None])


def class_name(index: Config, name: str, allowed: Classes) -> str:
    entry = index.get(name)
    if not (isinstance(entry, list) and len(entry) == 2 and isinstance(entry[1], str)):
        raise EngineFailed(f"model_index.json does not say what its {name} is")
    if entry[0] not in ("diffusers", "transformers") or (name in allowed and entry[1] not in allowed[name]):
        raise EngineFailed(f"The checkpoint's {name} is of a class that Safelight does not run: {entry[1]!r}")
    return entry[1]


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
