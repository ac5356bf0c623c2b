"""ControlNets (Zhang et al., 2023): networks beside a checkpoint's own that are shown a hint and say what is to be added
at every level of it. Read from files here, and asked for one picture at a time.

A picture asks for its own rows alone, so that the answer cannot depend on its neighbours; the call of the checkpoint's
network is shared with those that have no ControlNet, to whose levels zeros are added.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from safelight.engine import compvis
from safelight.engine.beside import Networks
from safelight.engine.components import build, find_in
from safelight.engine.families.additions import Control, summed
from safelight.engine.families.autoencoder import Place
from safelight.engine.families.family import Family, Row
from safelight.engine.folder import weight_files
from safelight.engine.weights import Config, ReadTensors, Weights, read_config, read_tensors
from safelight.errors import EngineFailed

FIELD = "controlnet_model"
KEPT = 4  # in memory for each checkpoint; the least recently used goes
ORIGINAL = "control_model."  # before every name in a file of the original code
NOT_RUN = {  # by what of a configuration tells them
    "num_mode": "it is a union of several",
    "conditioning_embedding_channels": "it looks at pixels by a network of its own",
    "extra_condition_channels": "it is shown a mask too",
    "extra_conditioning_channels": "it is shown a mask too",
}


@dataclass(frozen=True, slots=True, eq=False)
class Cue:
    """A ControlNet at work on one picture: what it is shown, how strongly it counts, and for which part of the way."""

    network: nn.Module
    hint: Tensor  # (1, 3, H, W), or once its picture is begun (C, h, w) for those that are shown latents
    scale: float
    start: float
    end: float
    digest: str = ""  # of the hint

    def counts(self, call: int, calls: int) -> bool:
        """As the pipelines have it: a call counts that lies within start and end as a whole."""
        return call / calls >= self.start and (call + 1) / calls <= self.end


def steered(family: Family, rows: Sequence[Row], cues: Sequence[Cue]) -> list[Row]:
    """The rows of one picture, with what its ControlNets add together."""
    answers = [family.steer(cue.network, rows, cue.hint, cue.scale) for cue in cues]
    return [replace(row, additions=summed(additions)) for row, *additions in zip(rows, *answers, strict=True)]


def controlnets_of(paths: Mapping[str, Path], family: Family, place: Place) -> Networks:
    """Those that one checkpoint may use, by name."""
    return Networks(paths, partial(read_for, family), place, KEPT, FIELD, "a ControlNet")


def read_for(family: Family, path: Path, read: ReadTensors = read_tensors) -> nn.Module:
    """Raises EngineFailed for what does not fit a checkpoint of this kind and make."""
    if family.control is None:
        raise EngineFailed("no ControlNet steers this kind of checkpoint")
    steered_network: Any = family.networks[family.denoiser]
    return read_controlnet(path, family.control, steered_network.config, read)


def read_controlnet(
    path: Path, control: Control, steered_config: Config, read: ReadTensors = read_tensors
) -> nn.Module:
    """A diffusers folder, or a single file in diffusers' or the original layout, whose network is built like the one
    that it steers.
    """
    kind = control.kind
    config = _folder_config(path / "config.json", kind) if path.is_dir() else _same(kind, steered_config)
    if any(_listed(config.get(name)) != _listed(steered_config[name]) for name in control.shared):
        raise EngineFailed("it was made for another kind of checkpoint")
    if told := next((why for name, why in NOT_RUN.items() if config.get(name)), None):
        raise EngineFailed(told)
    weights: Weights = {}
    for file in weight_files(path) if path.is_dir() else [path]:
        weights |= read(file)
    return build(kind, config, _find(weights, config))


def _folder_config(path: Path, kind: Any) -> Config:
    config = read_config(path)
    if config.get("_class_name") != kind.__name__:
        raise EngineFailed(f"it is of a class that Safelight does not run: {config.get('_class_name')!r}")
    return {name: value.default for name, value in _options(kind).items()} | config


def _same(kind: Any, steered_config: Config) -> Config:
    shared = {name: steered_config[name] for name in _options(kind) if name in steered_config}
    return shared | {"in_channels": 4}  # of the latents alone, whatever else an inpainting checkpoint reads


def _options(kind: Any) -> Mapping[str, Any]:
    return {
        name: option
        for name, option in inspect.signature(kind.__init__).parameters.items()
        if option.default is not inspect.Parameter.empty
    }


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, (list, tuple)) else value


def _find(weights: Weights, config: Config) -> Callable[[str], Tensor | None]:
    find = find_in(weights)

    def either(name: str) -> Tensor | None:
        if (found := find(name)) is not None or "block_out_channels" not in config:
            return found
        original = compvis.controlnet_name(name, config)
        return weights.get(ORIGINAL + original, weights.get(original))

    return either
