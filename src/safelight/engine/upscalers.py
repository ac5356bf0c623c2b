"""Networks that enlarge: the bundled one, and operators' files in the two layouts that nearly all of them have.

Those are Real-ESRGAN's dense residual network (RRDBNet) and its compact one (SRVGGNetCompact). A file is judged by its
keys and shapes alone. Knows nothing of pictures' sizes or of who wants them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from safelight.engine import enlarger
from safelight.engine.weights import Weights, read_tensors
from safelight.errors import EngineFailed

PREFIXES = re.compile(r"^(params_ema|params|model|module|state_dict)\.(?=conv_|body\.)")
FIRST_NAMES = (  # of ESRGAN's own code, before it was rewritten
    (re.compile(r"^model\.0\."), "conv_first."),
    (re.compile(r"^model\.1\.sub\.(\d+)\.RDB(\d)\.conv(\d)\.0\."), r"body.\1.rdb\2.conv\3."),
    (re.compile(r"^model\.1\.sub\.\d+\."), "conv_body."),
    (re.compile(r"^model\.3\."), "conv_up1."),
    (re.compile(r"^model\.6\."), "conv_up2."),
    (re.compile(r"^model\.8\."), "conv_hr."),
    (re.compile(r"^model\.10\."), "conv_last."),
)
BLEND = 8  # pixels over which one window goes over into the next


@dataclass(frozen=True, eq=False)
class Upscaler:
    """``enlarge`` makes (n, 3, h, w) in [0, 1] as many times as large as it is told, by one of ``factors``.

    A pixel depends on what lies within ``reach`` pixels of it; a deep network looks further, and what lies there hardly counts.
    """

    enlarge: Callable[[Tensor, int], Tensor]
    device: torch.device
    factors: tuple[int, ...]
    side: int = 256  # of the windows that it is given
    reach: int = 24
    unit: int = 1  # sides must be whole multiples of it

    @property
    def overlap(self) -> int:
        return 2 * self.reach + BLEND


class DenseBlock(nn.Module):
    """Five convolutions, each of which sees all that came before it."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        for number in range(1, 5):
            self.add_module(f"conv{number}", _conv(width + (number - 1) * growth, growth))
        self.conv5 = _conv(width + 4 * growth, width)

    def forward(self, seen: Tensor) -> Tensor:
        known = seen
        for number in range(1, 5):
            known = torch.cat((known, _leaky(self.get_submodule(f"conv{number}")(known))), 1)
        added: Tensor = self.conv5(known)
        return seen + added * 0.2


class ResidualInResidual(nn.Module):
    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        self.rdb1, self.rdb2, self.rdb3 = (DenseBlock(width, growth) for _ in range(3))

    def forward(self, seen: Tensor) -> Tensor:
        added: Tensor = self.rdb3(self.rdb2(self.rdb1(seen)))
        return seen + added * 0.2


class Dense(nn.Module):
    """RRDBNet: always fourfold on the inside; for less, squares of pixels are folded into channels first."""

    def __init__(self, width: int, growth: int, blocks: int, fold: int) -> None:
        super().__init__()
        self.fold = fold
        self.conv_first = _conv(3 * fold**2, width)
        self.body = nn.Sequential(*(ResidualInResidual(width, growth) for _ in range(blocks)))
        self.conv_body, self.conv_up1, self.conv_up2, self.conv_hr = (_conv(width, width) for _ in range(4))
        self.conv_last = _conv(width, 3)

    def forward(self, pictures: Tensor) -> Tensor:
        first = self.conv_first(functional.pixel_unshuffle(pictures, self.fold))
        seen = first + self.conv_body(self.body(first))
        for larger in (self.conv_up1, self.conv_up2):
            seen = _leaky(larger(functional.interpolate(seen, scale_factor=2, mode="nearest")))
        drawn: Tensor = self.conv_last(_leaky(self.conv_hr(seen)))
        return drawn


class Compact(nn.Module):
    """SRVGGNetCompact: a chain of convolutions that adds to the picture with its pixels repeated."""

    def __init__(self, width: int, layers: int, factor: int) -> None:
        super().__init__()
        self.factor = factor
        chain: list[nn.Module] = [_conv(3, width), nn.PReLU(width)]
        for _ in range(layers):
            chain += [_conv(width, width), nn.PReLU(width)]
        self.body = nn.ModuleList([*chain, _conv(width, 3 * factor**2)])

    def forward(self, pictures: Tensor) -> Tensor:
        seen = pictures
        for part in self.body:
            seen = part(seen)
        detail = functional.pixel_shuffle(seen, self.factor)
        return detail + functional.interpolate(pictures, scale_factor=self.factor, mode="nearest")


def bundled() -> Upscaler:
    """Always on the CPU, so that its bytes are the same everywhere."""
    return Upscaler(enlarger.network(), torch.device("cpu"), (2, 4), side=512, reach=10)


def read_upscaler(path: Path, device: torch.device) -> Upscaler:
    """Raises EngineFailed for a file of another layout."""
    weights = {_name(given): tensor.float() for given, tensor in read_tensors(path).items()}
    try:
        network, factor = _dense(weights) if "conv_first.weight" in weights else _compact(weights)
        network.load_state_dict(weights)
    except (KeyError, IndexError, RuntimeError, ValueError) as error:
        raise EngineFailed(
            f"{path.name} is no upscaler of a layout that is read here (RRDBNet, SRVGGNetCompact)"
        ) from error
    ready: Any = network.eval().requires_grad_(False).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs leave it out
    unit = network.fold if isinstance(network, Dense) else 1
    return Upscaler(lambda pictures, _: ready(pictures), device, (factor,), unit=unit)


def _name(given: str) -> str:
    """As the networks above name it."""
    return next((seen.sub(name, given) for seen, name in FIRST_NAMES if seen.match(given)), PREFIXES.sub("", given))


def _dense(weights: Weights) -> tuple[nn.Module, int]:
    first = weights["conv_first.weight"]
    fold = {3: 1, 12: 2, 48: 4}[first.shape[1]]
    blocks = 1 + max(int(name.split(".")[1]) for name in weights if name.startswith("body."))
    return Dense(first.shape[0], weights["body.0.rdb1.conv1.weight"].shape[0], blocks, fold), 4 // fold


def _compact(weights: Weights) -> tuple[nn.Module, int]:
    width, last = weights["body.0.weight"].shape[0], max(int(name.split(".")[1]) for name in weights)
    factor = round((weights[f"body.{last}.weight"].shape[0] / 3) ** 0.5)
    return Compact(width, last // 2 - 1, factor), factor


def _conv(entering: int, leaving: int) -> nn.Conv2d:
    return nn.Conv2d(entering, leaving, 3, padding=1)


def _leaky(seen: Tensor) -> Tensor:
    return functional.leaky_relu(seen, 0.2)
