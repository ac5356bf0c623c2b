"""How much memory a row of a call takes beside the weights, counted without computing: python -m benchmarks.activations

The whole call runs on torch's meta device, at true widths, and every tensor is counted for as long as it lives. Attention is taken to
hold nothing but its answer, as fused kernels do; what kernels hold for themselves is not seen.
"""

from __future__ import annotations

import argparse
import weakref
from typing import Any
from unittest.mock import patch

import diffusers
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from benchmarks import architectures
from safelight.engine.families import family_of
from safelight.engine.families.autoencoder import Place
from safelight.engine.families.family import Family, Parts, Row

META, MIB = torch.device("meta"), 2**20
FEW, MANY = 1, 3
DEPTH = 2  # of each kind of layer: what one holds is gone before the next
WORDS = 64  # what a mask is said to leave, where that is asked of numbers that are not there


class Held(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's own
    """The most bytes that tensors held at once, but for ``weights``."""

    def __init__(self, weights: set[int]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's own
        self.most: int = 0
        self._now = 0
        self._known = set(weights)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default:  # noqa: SLF001  # ``item``
            return WORDS
        answer = func(*args, **(kwargs or {}))
        for tensor in tree_iter(answer):
            if isinstance(tensor, Tensor) and tensor.device == META:
                self._count(tensor.untyped_storage())
        return answer

    def _count(self, storage: Any) -> None:
        key, size = storage._cdata, storage.nbytes()  # noqa: SLF001  # its only name
        if key not in self._known:
            self._known.add(key)
            self._now += size
            self.most = max(self.most, self._now)
            weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._known.discard(key)
        self._now -= size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--architectures", default="sd15,sdxl,sd35,flux,zimage,qwen,pixart")
    parser.add_argument("--sides", default="512,1024", help="of the pictures, in pixels")
    given = parser.parse_args()
    print("| architecture | pixels | a row |\n|---|---|---|")
    for name in given.architectures.split(","):
        family = outlined(name)
        for side in given.sides.split(","):
            few, many = (most(family, int(side), rows) for rows in (FEW, MANY))
            print(f"| {name} | {side} | {(many - few) / (MANY - FEW) / MIB:.0f} MiB |", flush=True)


def outlined(name: str) -> Family:
    """An architecture without memory for its weights."""
    with META, patch.object(diffusers, "EulerDiscreteScheduler", diffusers.DDIMScheduler):  # which needs numbers
        pipeline = architectures.pipeline_of(name, architectures.Size(DEPTH))
        kind = family_of(type(pipeline).__name__)
        assert kind is not None
        networks = {part: net for part, net in pipeline.components.items() if isinstance(net, nn.Module)}
        (denoiser,) = kind.classes[kind.denoiser].values()
        networks[kind.denoiser] = denoiser.from_config(networks[kind.denoiser].config).requires_grad_(False)
    return kind(Parts(networks, pipeline.components, type(pipeline).__name__), Place(META, torch.float32))


@torch.no_grad()
def most(family: Family, side: int, rows: int) -> int:
    tensors = [tensor for net in family.networks.values() for tensor in net.state_dict().values()]
    weights = {tensor.untyped_storage()._cdata for tensor in tensors}  # noqa: SLF001  # their only name
    with META, patch.object(torch.nn.functional, "scaled_dot_product_attention", _fused):
        text = family.read(family.networks, ["a red apple on a wooden table"], 1)[0]
        batch = [Row(torch.empty(family.shape(side, side)), 500.0, text)] * rows
        held = Held(weights)
        with held:
            family.split(family.call(family.networks, family.gather(batch)), batch)
    return held.most


def _fused(query: Tensor, *_: Any, **__: Any) -> Tensor:
    return torch.empty_like(query)


if __name__ == "__main__":
    main()
