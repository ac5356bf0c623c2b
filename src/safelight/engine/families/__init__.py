"""The kinds of models that Safelight runs, by the names that checkpoints give their pipelines."""

from __future__ import annotations

from safelight.engine.families.family import Family
from safelight.engine.families.stable_diffusion import StableDiffusion

FAMILIES: tuple[type[Family], ...] = (StableDiffusion,)


def family_of(pipeline: str) -> type[Family] | None:
    return next((family for family in FAMILIES if pipeline in family.pipelines), None)
