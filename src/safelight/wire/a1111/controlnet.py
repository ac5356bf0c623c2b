"""ControlNet units of the web UI's API: scripts named ``controlnet`` that run beside txt2img and img2img."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from safelight.errors import Invalid
from safelight.records import AssetKind, ControlUse
from safelight.service.controls import INPAINT, MOST, drawn_here, hint_of, known_controlnet
from safelight.settings import Settings
from safelight.wire.forms import Form

SCRIPT, FIELD = "controlnet", "alwayson_scripts"
INSTEAD = "send the hint itself, with module none"
_MODULES = (
    "none",
    "canny",
    "softedge_hed",
    "scribble_hed",
    "tile_resample",
    "blur_gaussian",
    "recolor_luminance",
    "inpaint_only",
    "depth_midas",
    "seg_ofade20k",
    "openpose",
)
BALANCED = ("", "0", "Balanced")
Known = Mapping[str, int | None]  # names of ControlNets, each with the job that installed it, where one did
PICTURES = (AssetKind.control_image, AssetKind.second_control_image, AssetKind.third_control_image)
_HASH = re.compile(r"\s*\[[0-9a-f]{6,64}\]$")


@dataclass(frozen=True, slots=True)
class Unit:
    """``source`` is its picture as it was given; the init image where it has none."""

    use: ControlUse
    source: str
    note: str = ""


def read_units(form: Form, settings: Settings, known: Known, *, starts: bool, masked: bool) -> list[Unit]:
    """Those that are switched on. ``known`` are the ControlNets that may be named; ``starts``: there is an init image. Raises Invalid."""
    scripts = form.fields.get(FIELD)
    given = next(
        (each for name, each in (scripts.items() if isinstance(scripts, dict) else ()) if is_controlnet(name)), None
    )
    units = given.get("args") if isinstance(given, dict) else None
    acting = (
        [unit for unit in units if isinstance(unit, dict) and unit.get("enabled", True)]
        if isinstance(units, list)
        else []
    )
    if len(acting) > MOST:
        raise Invalid(FIELD, f"has more than {MOST} ControlNet units")
    read = [_read(Form(unit), settings, known, kind) for unit, kind in zip(acting, PICTURES, strict=False)]
    if not starts and any(not unit.source for unit in read):
        raise Invalid(FIELD, "has a ControlNet unit without an image")
    if not masked and any(unit.use.hint == INPAINT for unit in read):
        raise Invalid(FIELD, "has an inpainting ControlNet, which needs a mask")
    return read


def modules(settings: Settings) -> list[str]:
    """Those that make something here."""
    return [module for module in _MODULES if drawn_here(_kind(module), settings)]


def is_controlnet(script: object) -> bool:
    return str(script).lower() == SCRIPT


def _read(unit: Form, settings: Settings, known: Known, kind: AssetKind) -> Unit:
    module = unit.text("module", limit=200, default="none").lower()
    source = _source(unit.fields)
    start, end = (unit.real(name, usual, 0, 1) for name, usual in (("guidance_start", 0.0), ("guidance_end", 1.0)))
    if start >= end:
        raise Invalid(FIELD, "has a ControlNet unit that ends before it starts")
    name = known_controlnet(FIELD, (_HASH.sub("", unit.text("model", limit=200)),), known)
    use = ControlUse(
        name,
        (kind if source else AssetKind.init_image).label,
        hint_of(FIELD, _kind(module), INSTEAD, settings),
        unit.real("weight", 1.0, 0, 5),
        start,
        end,
        known[name],
    )
    mode = str(unit.fields.get("control_mode") or "")
    return Unit(use, source, "" if mode in BALANCED else f"control_mode {mode[:80]} is not here; Balanced is used.")


def _kind(module: str) -> str:
    return module.partition("_")[0]


def _source(unit: Mapping[str, object]) -> str:
    given = unit.get("image") or unit.get("input_image") or ""
    picture = given.get("image") if isinstance(given, dict) else given
    return picture if isinstance(picture, str) else ""
