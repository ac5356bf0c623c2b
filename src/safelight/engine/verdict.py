"""Judges a model that a stranger gave: KIND, where its file or folder is, the folders that lend to transformers that come alone,
as JSON by family, and the checkpoints that it may be for where it is none.

Nothing imports this file: it is run as a program of its own, so that a file made to overwhelm its reader overwhelms nobody else.
It prints one JSON object, in which ``wrong`` completes a sentence that begins with the file's address.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import torch

from safelight.engine import autoencoders, controlnet
from safelight.engine.autoencoders import has_autoencoder
from safelight.engine.checkpoint import read_components
from safelight.engine.components import Components
from safelight.engine.emphasis import MOST_PIECES
from safelight.engine.families.autoencoder import Place
from safelight.engine.families.family import Family
from safelight.engine.lone import Lenders, layout_of
from safelight.engine.lora import read_lora
from safelight.engine.single_file import UNET
from safelight.engine.textual_inversion import Concept, read_concept
from safelight.engine.weights import outlined_tensors, read_header
from safelight.errors import EngineFailed, Invalid

MEMORY_BYTES = 4 * 2**30  # beside what the program itself takes
CPU_SECONDS = 200
MOST_VECTORS = 75 * MOST_PIECES  # of an embedding: as many as the longest prompt has words
CPU = torch.device("cpu")


def main(kind: str, place: str, lenders: str, *checkpoints: str) -> None:
    _confine()
    try:
        lent = {family: Path(folder) for family, folder in json.loads(lenders).items()}
        said = judge(kind, Path(place), [Path(each) for each in checkpoints], lent)
    except (EngineFailed, Invalid) as error:
        said = {"wrong": _of_the_file(error, Path(place).name)}
    except MemoryError:
        said = {"wrong": "leads to a file that takes too much memory to read"}
    print(json.dumps(said))


def judge(kind: str, path: Path, checkpoints: Sequence[Path], lenders: Lenders) -> dict[str, str]:
    """Raises EngineFailed or Invalid for what this server could not use."""
    told = _told(path) if path.is_file() else ""
    if told not in ("", kind):
        raise Invalid("", f"leads to {NAMES[told]}; send it with model_category {CATEGORIES.get(told, told)}")
    if kind in _FIT:
        return {"family": _fitting(kind, path, checkpoints, lenders)}
    return {"family": read_components(path, outlined_tensors, lenders).family.__name__}


def _told(path: Path) -> str:
    """The kind that the names of its tensors give away, where they do."""
    names = read_header(path).tensors
    if any(".lora_" in name or ".lora." in name for name in names):
        return "lora"
    if any(name.startswith((controlnet.ORIGINAL, "controlnet_")) for name in names):
        return "controlnet"
    if any(name.startswith(UNET) for name in names):
        return "checkpoint"
    if has_autoencoder(names) and layout_of(path) is None:
        return "vae"
    shapes = [tensor.shape for tensor in names.values()]
    flat = len(shapes) == 1 and len(shapes[0]) <= 2 and shapes[0][:-1] <= (MOST_VECTORS,)
    return "embedding" if flat or names.keys() & {"emb_params", "clip_g"} else ""


def _fitting(kind: str, path: Path, checkpoints: Sequence[Path], lenders: Lenders) -> str:
    """The family of the first checkpoint that it can be used with."""
    reasons = []
    for checkpoint in checkpoints:
        with suppress(EngineFailed):
            components = read_components(checkpoint, outlined_tensors, lenders)
            family = components.family(components.parts, Place(CPU, torch.float32, torch.contiguous_format), ())
            try:
                _FIT[kind](path, components, family)
            except Invalid as error:
                reasons.append(error.rule)
            else:
                return components.family.__name__
    why = reasons[0] if reasons else "fits none of the checkpoints here"
    raise Invalid("", f"leads to {NAMES[kind]} that {why}")


def _fit_lora(path: Path, components: Components, family: Family) -> None:
    networks = {name: part for name, part in components.parts.networks.items() if name != "vae"}
    read_lora(path, networks, family.spellings, torch.float32)


def _fit_controlnet(path: Path, _components: Components, family: Family) -> None:
    try:
        controlnet.read_for(family, path, outlined_tensors)
    except EngineFailed as error:
        raise Invalid("", f"was made for another kind of checkpoint: {error}") from error


def _fit_embedding(path: Path, _components: Components, family: Family) -> None:
    try:
        concept = read_concept("it", path, outlined_tensors)
    except EngineFailed as error:
        raise Invalid("", "is in no layout that this server knows") from error
    if any(len(vectors) > MOST_VECTORS for vectors in concept.vectors):
        raise Invalid("", f"has more than {MOST_VECTORS} vectors, which no prompt has room for")
    if not family.teachable(concept):
        raise Invalid("", f"was made for another kind of checkpoint: its vectors are {_widths(concept)} wide")


def _fit_vae(path: Path, _components: Components, family: Family) -> None:
    try:
        autoencoders.read_for(family, path, outlined_tensors)
    except EngineFailed as error:
        raise Invalid("", f"was made for another kind of checkpoint: {error}") from error


def _widths(concept: Concept) -> str:
    return " and ".join(str(vectors.shape[1]) for vectors in concept.vectors)


NAMES = {
    "checkpoint": "a checkpoint",
    "lora": "a LoRA",
    "controlnet": "a ControlNet",
    "embedding": "an embedding",
    "vae": "an autoencoder",
}
CATEGORIES = {"checkpoint": "stable_diffusion", "embedding": "embeddings"}  # where callers call a kind otherwise
_FIT: dict[str, Callable[[Path, Components, Family], None]] = {
    "lora": _fit_lora,
    "controlnet": _fit_controlnet,
    "embedding": _fit_embedding,
    "vae": _fit_vae,
}


def _of_the_file(error: EngineFailed | Invalid, file: str) -> str:
    """The readers speak of the file by its name, which here is a number."""
    if isinstance(error, Invalid):
        return error.rule
    said = error.message.removeprefix(f"{file} ")
    return (
        f"leads to a file that {said}" if said != error.message else f"leads to no checkpoint for this server: {said}"
    )


def _confine() -> None:
    statm = Path("/proc/self/statm")
    pages = int(statm.read_text().split()[0]) if statm.exists() else 2**20
    spent = resource.getrusage(resource.RUSAGE_SELF)
    cpu = int(spent.ru_utime + spent.ru_stime) + CPU_SECONDS
    bounds = {
        resource.RLIMIT_AS: pages * resource.getpagesize() + MEMORY_BYTES,
        resource.RLIMIT_CPU: cpu,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 0,
    }
    for kind, bound in bounds.items():
        with suppress(ValueError):
            resource.setrlimit(kind, (bound, bound))


if __name__ == "__main__":
    main(*sys.argv[1:])
