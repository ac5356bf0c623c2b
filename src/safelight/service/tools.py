"""Networks beside the checkpoints that requests may name, and what comes with the package where they name none.

Knows names and files' sizes alone; whether one can be read is the worker's to find out.
"""

from __future__ import annotations

from dataclasses import dataclass

from safelight.errors import NotFound
from safelight.settings import Settings

BUNDLED = "safelight-enlarger"
FILTERS = ("lanczos", "nearest")  # upscalers that are no networks
EFFORT = 4.0  # of the bundled enlarger for a pixel, beside a checkpoint's for a pixel of one row and step
BUNDLED_BYTES = 150_000  # of the bundled enlarger; a larger network takes so much longer


@dataclass(frozen=True, slots=True)
class Tool:
    """``name`` is None for what comes with the package; ``note`` is for the caller where that is not what he asked for."""

    name: str | None
    effort: float
    note: str = ""


def upscaler(name: str, settings: Settings) -> Tool:
    """Raises NotFound for one that is not here, where the settings want that."""
    if name in FILTERS:
        return Tool(name, 1.0)
    if path := settings.upscalers.get(name):
        return Tool(name, EFFORT * max(1.0, path.stat().st_size / BUNDLED_BYTES))
    if name and settings.unknown_model == "refuse":
        raise NotFound("Model id not found")
    return Tool(None, EFFORT, f"model_id {name} is not on this server; the bundled enlarger is used." if name else "")
