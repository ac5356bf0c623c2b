"""What ControlNets add at every level of a network: from rows to the inputs of a call, and from these to its levels.

Levels that are one tensor for every row, as where a ControlNet has fewer layers than its network, travel once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

NAME = "addition"  # how the names of the inputs begin
Additions = tuple[Tensor, ...]  # of one row, for each level


@dataclass(frozen=True, slots=True)
class Control:
    """The ControlNets of a family: their class, and what of their configuration must be the checkpoint's own.

    ``latents``: they are shown a hint through the autoencoder, and ``drawn`` is whether its sample is drawn from the
    picture's own seed, before everything else, as the pipelines have it; otherwise it is the mean.
    """

    kind: type[nn.Module]
    shared: tuple[str, ...]
    latents: bool = False
    drawn: bool = False


class Steered(Protocol):
    @property
    def additions(self) -> Additions: ...


def spread(samples: Sequence[Tensor], count: int, each: float) -> list[Tensor]:
    """The answers of a ControlNet for one row, (1, ...), one of them for every ``each`` of ``count`` levels."""
    own = [sample[0] for sample in samples]
    return [own[int(level / each)] for level in range(count)]


def gathered(rows: Sequence[Steered]) -> dict[str, Tensor]:
    """(R, ...) for each level that differs from the one before; nothing is added to rows that have no ControlNet."""
    told = next((row.additions for row in rows if row.additions), ())
    inputs: dict[str, Tensor] = {}
    before: list[Tensor | None] = []
    for i, level in enumerate(told):
        own = [row.additions[i] if row.additions else None for row in rows]
        if i == 0 or any(now is not then for now, then in zip(own, before, strict=True)):
            inputs[f"{NAME}_{i}"] = torch.stack([torch.zeros_like(level) if each is None else each for each in own])
        before = own
    return inputs


def levels(inputs: Mapping[str, Tensor], count: int) -> list[Tensor]:
    """All of them again, or none."""
    found: list[Tensor] = []
    for i in range(count if f"{NAME}_0" in inputs else 0):
        found.append(inputs[name] if (name := f"{NAME}_{i}") in inputs else found[-1])
    return found


def without(inputs: Mapping[str, Tensor]) -> dict[str, Any]:
    return {name: tensor for name, tensor in inputs.items() if not name.startswith(NAME)}


def summed(additions: Sequence[Additions]) -> Additions:
    """What several ControlNets add to one row. Levels that were one tensor stay one."""
    sums: dict[tuple[int, ...], Tensor] = {}
    for level in zip(*additions, strict=True):
        if (key := tuple(map(id, level))) not in sums:
            sums[key] = sum(level[1:], start=level[0])
    return tuple(sums[tuple(map(id, level))] for level in zip(*additions, strict=True))
