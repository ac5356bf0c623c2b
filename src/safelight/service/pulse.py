"""What an engine can say of itself at any moment, as a worker tells the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Checkpoints = Mapping[str, Mapping[str, object]]  # name -> its state, and its bytes


@dataclass(frozen=True)
class Pulse:
    step_seconds: float = 0.0
    rows_per_tick: float = 0.0
    rows_waiting: int = 0
    device: str = ""
    memory_used: int = 0
    memory_free: int = 0
    memory_total: int = 0
    checkpoints: Checkpoints = field(default_factory=dict)
    seconds_ahead: float = 0.0  # until all that is begun is done


def loaded(checkpoints: Checkpoints) -> set[str]:
    """Those in memory."""
    return {name for name, told in checkpoints.items() if told["state"] == "loaded"}
