"""How much memory there is where checkpoints run, and how much of it this process takes: a GPU's own, or the machine's."""

from __future__ import annotations

from dataclasses import dataclass

import psutil
import torch


@dataclass(frozen=True, slots=True)
class Memory:
    """In bytes. ``used`` is this process's part alone."""

    used: int
    free: int
    total: int


def memory_of(device: torch.device) -> Memory:
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return Memory(torch.cuda.memory_reserved(device), free, total)
    here = psutil.virtual_memory()
    return Memory(psutil.Process().memory_info().rss, here.available, here.total)
