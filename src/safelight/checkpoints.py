"""Checkpoints by the names that requests give them: the bundled one and those of the settings. Loads nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safelight.errors import SetupFailed
from safelight.settings import Settings

BUNDLED = Path(__file__).parent / "model"
BUNDLED_NAME = "safelight-sprites-1"


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
    ):
        if not path.exists():
            raise SetupFailed(
                f"{name} is to be at {path}, and nothing is there. Correct model, models, loras or embeddings."
            )
    return settings.model_copy(update={"models": models, "model": chosen})


def list_models(settings: Settings) -> list[dict[str, Any]]:
    settings = named_checkpoints(settings)
    return [
        {
            "name": name,
            "default": name == settings.model,
            "kind": "diffusers folder" if path.is_dir() else "single file",
            "bytes": sum(file.stat().st_size for file in _weight_files(path)),
            "path": str(path),
        }
        for name, path in settings.models.items()
    ]


def _weight_files(path: Path) -> list[Path]:
    return sorted(path.rglob("*.safetensors")) if path.is_dir() else [path] if path.exists() else []
