"""How much memory there is where checkpoints run, how much of it this process takes (a GPU's own, or the machine's), and
how much a checkpoint's weights take of it, their three parts apart.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

import psutil
import torch


@dataclass(frozen=True, slots=True)
class Memory:
    """In bytes. ``used`` is this process's part alone."""

    used: int
    free: int
    total: int


class EncoderPlace(StrEnum):
    """Where text encoders are: where the denoiser is, beside the CPU, or nowhere until a prompt is to be read."""

    device = "device"
    cpu = "cpu"
    drop = "drop"


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes of a checkpoint's weights."""

    encoders: int
    denoiser: int
    autoencoder: int
    place: EncoderPlace = EncoderPlace.device

    @property
    def apart(self) -> dict[str, int]:
        return {"encoders": self.encoders, "denoiser": self.denoiser, "autoencoder": self.autoencoder}

    @property
    def stays(self) -> int:
        """On its device for as long as it is loaded."""
        return self.denoiser + self.autoencoder + (self.encoders if self.place == EncoderPlace.device else 0)

    @property
    def passes(self) -> int:
        """There only while its prompts are read, which those of one checkpoint are at a time."""
        return self.encoders if self.place == EncoderPlace.drop else 0

    @property
    def compiled(self) -> Footprint:
        """With weights of its own for a compiled denoiser and autoencoder."""
        return replace(self, denoiser=2 * self.denoiser, autoencoder=2 * self.autoencoder)


def encoder_place(wanted: EncoderPlace, device: torch.device) -> EncoderPlace:
    """Beside the CPU is no other place where everything is on it."""
    return EncoderPlace.device if wanted == EncoderPlace.cpu and device.type == "cpu" else wanted


def together(footprints: Iterable[Footprint]) -> int:
    """What these take on one device at most."""
    all_of_them = list(footprints)
    return sum(each.stays for each in all_of_them) + max((each.passes for each in all_of_them), default=0)


def memory_of(device: torch.device) -> Memory:
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return Memory(torch.cuda.memory_reserved(device), free, total)
    here = psutil.virtual_memory()
    return Memory(psutil.Process().memory_info().rss, here.available, here.total)
