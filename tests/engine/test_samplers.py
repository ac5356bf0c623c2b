"""Every sampler is compared with the diffusers pipeline of that name, seeds and order of noise included."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from safelight.engine.generation import Generation, Spacing
from safelight.engine.samplers import ALGORITHM_TYPES, REFUSED, SAMPLERS, Samplers, canonical
from safelight.errors import Invalid

from .oracle import by_engine, by_pipeline, distance, half_mask, picture, scheduler_named
from .stand_ins import MicroModel

STEPS = (1, 4, 20, 31, 50)
STARTS: dict[str, dict[str, Any]] = {
    "text2img": {},
    "img2img 0.3": {"init_image": picture(), "strength": 0.3},
    "img2img 0.75": {"init_image": picture(), "strength": 0.75},
    "inpaint": {"init_image": picture(), "mask_image": half_mask(), "strength": 0.75},
    "inpaint 1.0": {"init_image": picture(), "mask_image": half_mask(), "strength": 1.0},
}


def generation(**what: Any) -> Generation:
    usual: dict[str, Any] = {"prompt": "a cat", "negative_prompt": "a dog", "width": 64, "height": 64, "seed": 11}
    return Generation(**(usual | what))


def refuses(model: MicroModel, asked: Generation, samplers: Samplers) -> bool:
    try:
        samplers.table(model.scheduler(), asked)
    except Invalid:
        return True
    return False


@pytest.mark.parametrize("spacing", Spacing)
@pytest.mark.parametrize("name", SAMPLERS)
def test_latents_equal_the_pipelines(name: str, spacing: Spacing) -> None:
    model, samplers = MicroModel(), Samplers()
    known = inspect.signature(SAMPLERS[name].__init__).parameters
    cases = [generation(sampler=name, spacing=spacing, steps=n, **start) for n in STEPS for start in STARTS.values()]
    if spacing is not Spacing.default and f"use_{spacing}_sigmas" not in known:
        assert all(refuses(model, case, samplers) for case in cases)
        return
    options: dict[str, Any] = {} if spacing is Spacing.default else {f"use_{spacing}_sigmas": True}
    theirs = {case: oracle(model, name, case, **options) for case in cases}
    offered = [case for case in cases if not refuses(model, case, samplers)]
    assert offered == [case for case in cases if theirs[case] is not None]
    for case, ours in zip(offered, by_engine(model, offered, samplers=samplers), strict=True):
        assert distance(ours, theirs[case]) < 1e-4, (case.steps, case.strength)


def oracle(model: MicroModel, name: str, case: Generation, **options: Any) -> Any:
    """The pipeline's latents, or None where it fails or answers with what is not a number."""
    scheduler = scheduler_named(name, model.own.config, **options)
    try:
        latents = by_pipeline(model, scheduler, case)
    except Exception:
        return None
    return latents if bool(latents.isfinite().all()) else None
