"""Checkpoints by the names that requests give them: the bundled one and those of the settings. Loads nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from safelight.errors import SetupFailed
from safelight.records import Operation, Wants
from safelight.settings import Settings

BUNDLED = Path(__file__).parent / "model"
BUNDLED_NAME = "safelight-sprites-2"
CARD = "safelight.json"
SAID = {"steps", "guidance_scale", "repaints"}  # of a card, by callers' own words
PIX2PIX, KONTEXT = Wants(only=Operation.pix2pix), Wants(guidance_scale=2.5, pictures=4)
KINDS = {  # by the pipeline that a folder names, with its usual guidance
    "StableDiffusionInstructPix2PixPipeline": PIX2PIX,
    "StableDiffusionDepth2ImgPipeline": Wants(only=Operation.depth2img),
    "FluxKontextPipeline": KONTEXT,
    "QwenImageEditPipeline": Wants(guidance_scale=4.0, pictures=1),
    "QwenImageEditPlusPipeline": Wants(guidance_scale=4.0, pictures=4),
}
ONLOOKERS = "depth", "segmentation", "people", "pose"
FIRST_WEIGHT = "model.diffusion_model.input_blocks.0.0.weight"
MOST_HEADER = 10 * 2**20  # bytes


class Card(BaseModel):
    """What a checkpoint says of itself, as far as it concerns what callers leave out; the engine reads the rest."""

    steps: int = Field(Wants().steps, ge=1, le=1000)
    guidance_scale: float = Field(Wants().guidance_scale, ge=1, le=20)
    repaints: bool = Wants().repaints
    family: str = ""  # of a transformer that comes alone
    guidance_rescale: float = Field(0.0, ge=0, le=1)  # the engine's, checked before it is loaded


def named_checkpoints(settings: Settings) -> Settings:
    """Settings in which every checkpoint has a name and ``model`` is the name of the default one."""
    models = {BUNDLED_NAME: BUNDLED, **settings.models}
    chosen = settings.model or BUNDLED_NAME
    if chosen not in models:
        path = Path(chosen).expanduser().absolute()
        if not path.exists():
            raise SetupFailed(
                f"Setting model has value {chosen!r}: neither a name from `models` nor a path that exists."
            )
        chosen = path.stem
        models[chosen] = path
    for name, path in (
        *settings.models.items(),
        (chosen, models[chosen]),
        *settings.loras.items(),
        *settings.embeddings.items(),
        *settings.controlnets.items(),
        *settings.vaes.items(),
        *settings.components.items(),
        *settings.upscalers.items(),
        *settings.segmenters.items(),
        *settings.finders.items(),
        *settings.captioners.items(),
        *((name, path) for name in ONLOOKERS if (path := getattr(settings, name)) is not None),
    ):
        if not path.exists():
            raise SetupFailed(
                f"{name} is to be at {path}, and nothing is there."
                " Correct model, models, components, loras, embeddings, controlnets, vaes, upscalers, segmenters, finders, captioners,"
                f" {', '.join(ONLOOKERS)}."
            )
    return settings.model_copy(update={"models": models, "model": chosen})


def read_wants(settings: Settings) -> dict[str, Wants]:
    """What the card beside each checkpoint asks for."""
    return {name: wants_of(name, path) for name, path in settings.models.items()}


def wants_of(name: str, path: Path) -> Wants:
    place = path / CARD if path.is_dir() else path.with_suffix(".json")
    if not place.is_file():
        return _usual(path)
    try:
        card = Card.model_validate_json(place.read_bytes())
    except ValueError as error:
        raise SetupFailed(f"The card {place} of checkpoint {name} cannot be obeyed: {error}") from error
    usual = KONTEXT if card.family == "Kontext" else _usual(path)
    return replace(usual, **card.model_dump(include=SAID, exclude_unset=True))


def _usual(path: Path) -> Wants:
    """Of its kind, told by a folder's pipeline or a file's first weights. What cannot be read is the engine's to judge."""
    try:
        if path.is_dir():
            return KINDS.get(json.loads((path / "model_index.json").read_bytes())["_class_name"], Wants())
        with path.open("rb") as file:
            header = json.loads(file.read(min(int.from_bytes(file.read(8), "little"), MOST_HEADER)))
        return PIX2PIX if header[FIRST_WEIGHT]["shape"][1] == 8 else Wants()
    except (OSError, ValueError, LookupError, TypeError):
        return Wants()


def list_models(settings: Settings, added: Mapping[str, Path]) -> list[dict[str, Any]]:
    """The checkpoints, those that were ``added`` among them, then the ControlNets that may steer them."""
    settings = named_checkpoints(settings)
    checkpoints = [
        _listing(name, path, "") | {"default": name == settings.model}
        for name, path in {**added, **settings.models}.items()
    ]
    return checkpoints + [_listing(name, path, "ControlNet, ") for name, path in settings.controlnets.items()]


def _listing(name: str, path: Path, kind: str) -> dict[str, Any]:
    return {
        "name": name,
        "default": False,
        "kind": kind + ("diffusers folder" if path.is_dir() else "single file"),
        "bytes": sum(file.stat().st_size for file in _weight_files(path)),
        "path": str(path),
    }


def _weight_files(path: Path) -> list[Path]:
    return sorted(path.rglob("*.safetensors")) if path.is_dir() else [path] if path.exists() else []
