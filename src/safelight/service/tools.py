"""Networks beside the checkpoints that requests may name, and what comes with the package where they name none.

Knows names and files' sizes alone; whether one can be read is the worker's to find out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safelight.errors import NotFound, NotOffered
from safelight.settings import Settings

BUNDLED = "safelight-enlarger"
BY_BORDER = "grabcut"
BY_BORDER_NOTE = (
    "There is no segmentation model here: what is unlike the picture's border was taken for the foreground, by GrabCut."
)
NO_FINDER = (
    "This server finds no objects by their names: it has no model for that. Its operator can add one: SAFELIGHT_FINDERS."
    " Or send a mask to image_editing/object_removal."
)
NO_CAPTIONER = "This server does not put pictures into words: it has no model for that. Its operator can add one: SAFELIGHT_CAPTIONERS."
FILTERS = ("lanczos", "nearest")  # upscalers that are no networks
EFFORT = 4.0  # of the bundled enlarger for a pixel, beside a checkpoint's for a pixel of one row and step
GRABBED = 1e7  # of GrabCut for a picture, in the same measure
SEGMENTER_BYTES = 176_000_000  # of U2-Net, which takes about as long
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


def finder(settings: Settings) -> Tool:
    return _first(settings.finders, NO_FINDER)


def captioner(settings: Settings) -> Tool:
    return _first(settings.captioners, NO_CAPTIONER)


def _first(folders: Mapping[str, Path], refusal: str) -> Tool:
    """Of the operator's. Raises NotOffered where there is none."""
    if not folders:
        raise NotOffered(refusal)
    name, folder = next(iter(folders.items()))
    size = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    return Tool(name, GRABBED * max(1.0, size / SEGMENTER_BYTES))


def segmenter(name: str, settings: Settings) -> Tool:
    """The operator's first one where none is named. Raises NotFound likewise."""
    offered = settings.segmenters
    if name and name not in offered and settings.unknown_model == "refuse":
        raise NotFound("Model id not found")
    chosen = name if name in offered else next(iter(offered), None)
    if chosen is None:
        return Tool(None, GRABBED, BY_BORDER_NOTE)
    note = f"model_id {name} is not on this server; {chosen} is used." if name not in ("", chosen) else ""
    return Tool(chosen, GRABBED * max(1.0, offered[chosen].stat().st_size / SEGMENTER_BYTES), note)
