"""Every sampler is compared with the diffusers pipeline of that name, seeds and order of noise included."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from safelight.engine.generation import Generation, Spacing
from safelight.engine.samplers import ALGORITHM_TYPES, REFUSED, SAMPLERS, Samplers, canonical
from safelight.errors import Invalid

from .oracle import by_engine, by_pipeline, distance, half_mask, picture, scheduler_named
from .stand_ins import MicroModel

STEPS = (1, 4, 20, 31, 50)
EXPENSIVE = ("LMSDiscrete", "KDPM2Discrete", "KDPM2AncestralDiscrete")
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


def matrix() -> Iterator[Any]:
    """Every sampler, spacing and number of steps. Three samplers take diffusers seconds to set up: mostly --all."""
    for name, spacing, steps in itertools.product(SAMPLERS, Spacing, STEPS):
        quick = name not in EXPENSIVE or (spacing, steps) == (Spacing.karras, 4)
        yield pytest.param(name, spacing, steps, marks=() if quick else pytest.mark.slow)


@pytest.mark.parametrize(("name", "spacing", "steps"), list(matrix()))
def test_latents_equal_the_pipelines(name: str, spacing: Spacing, steps: int) -> None:
    model, samplers = MicroModel(), Samplers()
    known = inspect.signature(SAMPLERS[name].__init__).parameters
    cases = [generation(sampler=name, spacing=spacing, steps=steps, **start) for start in STARTS.values()]
    offered = [case for case in cases if not refuses(model, case, samplers)]
    if spacing is not Spacing.default and f"use_{spacing}_sigmas" not in known:
        assert offered == []
        return
    options: dict[str, Any] = {} if spacing is Spacing.default else {f"use_{spacing}_sigmas": True}
    theirs = {case: oracle(model, name, case, **options) for case in cases}
    assert offered == [case for case in cases if theirs[case] is not None]
    for case, ours in zip(offered, by_engine(model, offered, samplers=samplers), strict=True):
        assert distance(ours, theirs[case]) < 1e-4, case.strength


def oracle(model: MicroModel, name: str, case: Generation, **options: Any) -> Any:
    """The pipeline's latents, or None where it fails or answers with what is not a number."""
    scheduler = scheduler_named(name, model.own.config, **options)
    try:
        latents = by_pipeline(model, scheduler, case)
    except Exception:  # noqa: BLE001  # whatever it is: what diffusers cannot do, we refuse
        return None
    return latents if bool(latents.isfinite().all()) else None


@pytest.mark.parametrize("prediction_type", ["v_prediction", "sample"])
@pytest.mark.parametrize("name", [name for name in SAMPLERS if name not in EXPENSIVE])
def test_other_predictions_equal_the_pipelines(name: str, prediction_type: str) -> None:
    model, samplers = MicroModel(prediction_type=prediction_type), Samplers()
    case = generation(sampler=name, steps=7)
    theirs = oracle(model, name, case)
    assert refuses(model, case, samplers) == (theirs is None)
    if theirs is not None:
        assert distance(by_engine(model, [case], samplers=samplers)[0], theirs) < 1e-4


@pytest.mark.parametrize(("name", "algorithm"), [(n, a) for n, types in ALGORITHM_TYPES.items() for a in types])
def test_algorithm_types_equal_the_pipelines(name: str, algorithm: str) -> None:
    model = MicroModel()
    options = {"final_sigmas_type": "sigma_min"} if algorithm.endswith("dpmsolver") else {}
    cases = [generation(sampler=name, algorithm_type=algorithm, steps=8, **start) for start in STARTS.values()]
    for case, ours in zip(cases, by_engine(model, cases), strict=True):
        assert distance(ours, oracle(model, name, case, algorithm_type=algorithm, **options)) < 1e-4


def test_an_inpainting_checkpoint_equals_the_pipeline() -> None:
    model = MicroModel(unet_channels=9)
    cases = [generation(steps=9, **start) for name, start in STARTS.items() if name.startswith("inpaint")]
    for case, ours in zip(cases, by_engine(model, cases), strict=True):
        assert distance(ours, oracle(model, "PNDM", case)) < 1e-4


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_guidance_equals_the_pipeline(scale: float) -> None:
    model, case = MicroModel(), generation(sampler="UniPCMultistep", guidance_scale=scale)
    assert distance(by_engine(model, [case])[0], oracle(model, "UniPCMultistep", case)) < 1e-4


def test_every_name_of_the_vendors_list_is_offered_or_refused_with_a_reason() -> None:
    assert len(SAMPLERS) + len(REFUSED) == 18
    assert all(canonical(f"{name}Scheduler") == name for name in SAMPLERS)
    for name, reason in REFUSED.items():
        with pytest.raises(Invalid, match="not offered") as refused:
            canonical(name)
        assert reason in str(refused.value)
    with pytest.raises(Invalid, match="must be one of DDPM, DDIM"):
        canonical("Magic")


def test_a_sampler_remembers_only_what_it_uses() -> None:
    remembered = {
        name: max(step.stack for step in Samplers().table(MicroModel().own, generation(sampler=name, steps=8)).steps)
        - 1
        for name in ("DDIM", "EulerDiscrete", "DPMSolverMultistep", "HeunDiscrete", "PNDM", "UniPCMultistep", "IPNDM")
    }
    assert remembered == {
        "DDIM": 0,
        "EulerDiscrete": 0,
        "DPMSolverMultistep": 1,
        "HeunDiscrete": 2,
        "PNDM": 3,
        "UniPCMultistep": 3,
        "IPNDM": 3,
    }


def test_a_table_is_compiled_once() -> None:
    samplers, model = Samplers(), MicroModel()
    first = samplers.table(model.own, generation(steps=5, seed=1))
    assert samplers.table(model.own, generation(steps=5, seed=2, prompt="else")) is first
    assert samplers.table(model.own, generation(steps=6)) is not first
