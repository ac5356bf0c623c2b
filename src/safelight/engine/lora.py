"""LoRA files (kohya's and diffusers' layouts) and how they act: on the way through a module, never in its weights.

A file's keys are matched against the module's own parts by their path with every dot written as an underscore, which is
how kohya names them and which tells all the layouts apart. Knows nothing of requests or of where files come from.
"""

from __future__ import annotations

import json
import re
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from safelight.engine.weights import read_header, read_tensors
from safelight.errors import Invalid

FIELD = "lora_model"


@dataclass(frozen=True, slots=True, eq=False)
class Delta:
    """A low-rank change of one linear or convolutional module: up(down(x)) * scale (Hu et al., 2021)."""

    down: Tensor  # (rank, in) or (rank, in, k, k)
    up: Tensor  # (out, rank) or (out, rank, 1, 1)
    scale: float  # alpha / rank

    def __call__(self, module: nn.Module, x: Tensor) -> Tensor:
        if isinstance(module, nn.Conv2d):
            narrow = functional.conv2d(x, self.down, None, module.stride, module.padding)
            return functional.conv2d(narrow, self.up) * self.scale
        return functional.linear(functional.linear(x, self.down), self.up) * self.scale


Deltas = Mapping[str, Delta]  # by the path of the module they change
Lora = Mapping[str, Deltas]  # by component: unet, text_encoder, text_encoder_2
Spellings = Callable[[str, str], list[str]]  # every name by which a file may mean a part; name#i is the i-th of several
Names = Mapping[str, list[str]]  # by the name in a file, the paths of the parts that it means, in order


class Adaptable:
    """A module that may run with LoRAs. Calls take turns, so that one call's deltas never reach another's rows."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self._parts = dict(module.named_modules())
        self._turn = threading.Lock()

    def __call__(self, *inputs: Any, loras: Sequence[tuple[Deltas, float]] = (), **named: Any) -> Any:
        with self._turn, ExitStack() as hooks:
            for path, strong in _by_path(loras).items():
                hooks.callback(self._parts[path].register_forward_hook(_adding(strong)).remove)
            return self.module(*inputs, **named)


def _by_path(loras: Iterable[tuple[Deltas, float]]) -> dict[str, list[tuple[Delta, float]]]:
    merged: dict[str, list[tuple[Delta, float]]] = defaultdict(list)
    for deltas, strength in loras:
        for path, delta in deltas.items():
            merged[path].append((delta, strength))
    return merged


def _adding(deltas: list[tuple[Delta, float]]) -> Callable[[nn.Module, tuple[Any, ...], Tensor], Tensor]:
    def add(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        for delta, strength in deltas:
            output = output + delta(module, inputs[0]) * strength
        return output

    return add


def read_lora(path: Path, components: Mapping[str, nn.Module], spellings: Spellings, dtype: torch.dtype) -> Lora:
    """Read a LoRA file and fit it to a model's components (named as in a diffusers folder), beside whose weights it lies."""
    tensors = read_tensors(path)
    alphas = _declared_alphas(path, components)
    names = {name: _names(name, module, spellings) for name, module in components.items()}
    lora: dict[str, dict[str, Delta]] = {name: {} for name in components}
    for key, halves in _pair(tensors).items():
        component, paths = _resolve(key, names)
        down = halves["down"]
        alpha = halves["alpha"].item() if "alpha" in halves else alphas.get(component, down.shape[0])
        module = components[component]
        for part, up in _shares(module, paths, down, halves["up"]):
            device = module.get_submodule(part).get_parameter("weight").device
            lora[component][part] = Delta(down.to(device, dtype), up.to(device, dtype), alpha / down.shape[0])
    return lora


def _pair(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Group a file's tensors by module key: each has a down and an up half, and perhaps an alpha."""
    groups: dict[str, dict[str, Tensor]] = defaultdict(dict)
    for name, tensor in tensors.items():
        match = HALF.fullmatch(name)
        if match is None:
            raise Invalid(FIELD, f"is of a kind that is not supported (only plain LoRA is): it holds {name[:80]!r}")
        groups[match["key"]][ROLES.get(match["half"], match["half"])] = tensor
    if not groups or any(not {"down", "up"} <= group.keys() for group in groups.values()):
        raise Invalid(FIELD, "is not a whole LoRA file: a half of a pair is missing")
    return groups


def _resolve(key: str, names: Mapping[str, Names]) -> tuple[str, list[str]]:
    """The component and the module paths that a file's key speaks of."""
    squashed = key.removeprefix("base_model.model.").replace(".processor.", ".").replace(".", "_")
    for prefix, component in PREFIXES:
        paths = names.get(component, {}).get(squashed.removeprefix(prefix)) if squashed.startswith(prefix) else None
        if paths:
            return component, paths
    raise Invalid(FIELD, f"was made for another kind of checkpoint: this one has no {key[:80]!r}")


def _names(component: str, module: nn.Module, spellings: Spellings) -> Names:
    paths = [path for path, part in module.named_modules() if isinstance(part, nn.Linear | nn.Conv2d)]
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for path in paths:
        for spelling in spellings(component, path):
            name, _, place = spelling.partition("#")
            found[name.replace(".", "_")][place] = path
    return {name: [places[place] for place in sorted(places)] for name, places in found.items()}


def _shares(component: nn.Module, paths: Sequence[str], down: Tensor, up: Tensor) -> list[tuple[str, Tensor]]:
    """A file's one module may be several of ours, one after the other in what it gives out."""
    shapes = [_shape(component.get_submodule(path)) for path in paths]
    sizes = [shape[0] for shape in shapes]
    fits = up.shape[0] == sum(sizes) and up.shape[1] == down.shape[0] and down.shape[0] > 0
    if not fits or any(tuple(down.shape[1:]) != shape[1:] for shape in shapes):
        raise Invalid(FIELD, "was made for another kind of checkpoint: its shapes do not fit")
    return list(zip(paths, torch.split(up, sizes), strict=True))


def _shape(module: nn.Module) -> tuple[int, ...]:
    """Of its weight, which may be packed."""
    if isinstance(module, nn.Linear):
        return module.out_features, module.in_features
    return tuple(module.get_parameter("weight").shape)


def _declared_alphas(path: Path, components: Iterable[str]) -> dict[str, float]:
    """diffusers writes one alpha for each component into the header instead of a tensor for each module."""
    try:
        declared = json.loads(read_header(path).metadata.get("lora_adapter_metadata", "{}"))
        found = {name: declared.get(f"{name}.lora_alpha") for name in components}
        alphas = {name: float(alpha) for name, alpha in found.items() if alpha is not None}
        if any(declared.get(f"{name}.{option}") for name in found for option in UNSUPPORTED):
            raise Invalid(FIELD, f"uses an option that is not supported (one of {', '.join(UNSUPPORTED)})")
    except (ValueError, TypeError, AttributeError) as error:
        raise Invalid(FIELD, "has a header that describes no LoRA") from error
    return alphas


HALF = re.compile(
    r"(?P<key>.+?)(?:[._]lora|\.lora_linear_layer)?"
    r"\.(?P<half>lora_down|lora_up|lora_A|lora_B|down|up|alpha)(?:\.default)?(?:\.weight)?"
)
ROLES = {"lora_down": "down", "lora_A": "down", "lora_up": "up", "lora_B": "up"}
UNSUPPORTED = ("alpha_pattern", "use_dora", "use_rslora")
PREFIXES = (
    ("lora_unet_", "unet"),
    ("lora_unet_", "transformer"),
    ("lora_transformer_", "transformer"),
    ("lora_te1_", "text_encoder"),
    ("lora_te2_", "text_encoder_2"),
    ("lora_te_", "text_encoder"),
    ("unet_", "unet"),
    ("transformer_", "transformer"),
    ("diffusion_model_", "transformer"),
    ("text_encoder_2_", "text_encoder_2"),
    ("text_encoder_", "text_encoder"),
)
