"""Fields and bodies read without a server: tolerance where clients need it, rules where the model needs them."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from safelight.engine.samplers import ALGORITHM_TYPES, SAMPLERS
from safelight.errors import Invalid, NotFound
from safelight.records import ImageRequest, Operation, Wants
from safelight.service.catalogue import Choice
from safelight.service.makers import covers
from safelight.settings import read_settings
from safelight.wire.forms import Form
from safelight.wire.modelslab.families import V3
from safelight.wire.modelslab.read import COVERS, Known, read_path_id, read_request
from safelight.wire.modelslab.schedulers import A1111, FROM_PICTURES, KARRAS, NOT_HERE, SCHEDULERS, SOLVERS

SETTINGS = read_settings()
CALM = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda parts: st.lists(parts, max_size=3) | st.dictionaries(st.text(), parts, max_size=3),
    max_leaves=5,
)


def read(operation: Operation = Operation.text2img, /, **fields: object) -> ImageRequest:
    return read_request(Form({"prompt": "a cat", **fields}), operation, V3, SETTINGS, str.upper)


def test_the_defaults() -> None:
    request = read(seed=1)
    assert request == ImageRequest(
        Operation.text2img, "A CAT", steps=20, strength=1.0, seed=1, safety_checker=True, enhance_prompt=True
    )


@pytest.mark.parametrize(
    ("fields", "name", "value"),
    [
        ({"width": " 768 "}, "width", 768),
        ({"width": "512.0"}, "width", 512),
        ({"height": 1024.0}, "height", 1024),
        ({"steps": "31"}, "steps", 31),
        ({"steps": 5, "num_inference_steps": "7"}, "steps", 7),
        ({"guidance_scale": "1e1"}, "guidance_scale", 10.0),
        ({"guidance_scale": ".5e1"}, "guidance_scale", 5.0),
        ({"enhance_prompt": "no"}, "prompt", "a cat"),
        ({"scheduler": "EulerDiscreteScheduler"}, "sampler", "EulerDiscrete"),
        ({"scheduler": "ddim"}, "sampler", "DDIM"),
        ({"scheduler": "Euler a"}, "sampler", "EulerAncestralDiscrete"),
        ({"scheduler": "DPM++ 2M Karras"}, "spacing", "karras"),
        ({"scheduler": "DPM++ 2M Karras", "use_karras_sigmas": "no"}, "spacing", "default"),
        ({"scheduler": "DDIM", "use_karras_sigmas": "yes"}, "spacing", "default"),
        ({"scheduler": "UniPCMultistep", "use_karras_sigmas": "1"}, "spacing", "karras"),
        ({"scheduler": "DPM++ 2M SDE"}, "algorithm_type", "sde-dpmsolver++"),
        ({"scheduler": "DPMSolverMultistep", "algorithm_type": "dpmsolver+++"}, "algorithm_type", "sde-dpmsolver++"),
        ({"scheduler": "DDIM", "algorithm_type": "dpmsolver"}, "algorithm_type", None),
        ({"scheduler": "DPMSolverMultistep", "algorithm_type": "none"}, "algorithm_type", None),
        ({"scheduler": "DPMSolverMultistep", "algorithm_type": "no"}, "algorithm_type", None),
        ({"scheduler": "auto", "algorithm_type": "auto"}, "sampler", None),
        ({"guidance": 3.5}, "guidance_scale", 3.5),
        ({"true_cfg_scale": "4"}, "true_cfg_scale", 4.0),
        ({"safety_checker_type": "Pixelate"}, "cover", "pixelate"),
        ({"safety_checker_type": "none"}, "cover", "black"),
        ({"guidance": 3.5, "guidance_scale": 7}, "guidance_scale", 7.0),
        ({"webhook": " https://example.com/hook "}, "webhook", "https://example.com/hook"),
        ({"track_id": 1.5}, "track_id", 1.5),
        ({"track_id": "0"}, "track_id", "0"),
        ({"track_id": ""}, "track_id", ""),
        ({"clip_skip": None}, "clip_skip", 1),
        ({"width": "auto", "height": "None"}, "width", 512),
        ({"steps": "undefined"}, "steps", 20),
        ({"safety_checker": "None"}, "safety_checker", True),
        ({"base64": "auto"}, "base64", False),
        ({"webhook": "undefined"}, "webhook", None),
        ({"webhook": False}, "webhook", None),
        ({"webhook": "false"}, "webhook", None),
        ({"negative_prompt": "None"}, "negative_prompt", ""),
        ({"negative_prompt": "auto"}, "negative_prompt", "auto"),
        ({"prompt": "None", "enhance_prompt": 0}, "prompt", "None"),
        ({"unknown": {"deep": [1]}}, "samples", 1),
    ],
)
def test_a_field_in_the_dress_that_clients_send(fields: dict[str, object], name: str, value: object) -> None:
    assert getattr(read(**fields), name) == value


USED = "scheduler {} is not offered here; {} was used."


@pytest.mark.parametrize(
    ("fields", "name", "value", "note"),
    [
        ({"scheduler": "KarrasVeScheduler"}, "sampler", "HeunDiscrete", USED.format("KarrasVe", "HeunDiscrete")),
        ({"scheduler": "KarrasVe"}, "spacing", "karras", USED.format("KarrasVe", "HeunDiscrete")),
        ({"scheduler": "ScoreSdeVeScheduler"}, "sampler", "EulerAncestralDiscrete", USED.format("ScoreSdeVe", "EulerAncestralDiscrete")),
        ({"scheduler": "IPNDMScheduler"}, "sampler", "PNDM", USED.format("IPNDM", "PNDM")),
        ({"scheduler": "DDIMInverseScheduler"}, "sampler", "DDIM", USED.format("DDIMInverse", "DDIM")),
        ({"num_inference_steps": "60"}, "steps", 51, "num_inference_steps was cut from 60 to 51."),
        ({"steps": 10**30}, "steps", 51, f"steps was cut from {10**30} to 51."),
        ({"seed": 2**32}, "seed", 0, "seed 4294967296 was taken modulo 4294967296, as 0."),
        ({"seed": f"{2**41 + 9}"}, "seed", 9, f"seed {2**41 + 9} was taken modulo 4294967296, as 9."),
        ({"seed": -2}, "seed", 2**32 - 2, "seed -2 was taken modulo 4294967296, as 4294967294."),
        ({"strength": 0}, "strength", 0.0, "strength 0 keeps the init image; nothing was painted."),
    ],
)  # fmt: skip
def test_what_is_done_otherwise_than_asked_is_noted(
    fields: dict[str, object], name: str, value: object, note: str
) -> None:
    request = read(Operation.img2img, **fields)
    assert (getattr(request, name), request.notes) == (value, (note,))


def test_fields_without_effect_are_told_where_they_ask_for_something() -> None:
    asking = read(full_url="yes", panorama="no", tomesd=True, watermark=0, enhance_style=None, other="x")
    assert asking.ignored == ("full_url", "tomesd")
    assert read(scheduler="IPNDM").notes == asking.notes == ()


def test_loras_by_commas() -> None:
    settings = SETTINGS.model_copy(update={"loras": {"ink": SETTINGS.data_dir, "wash": SETTINGS.data_dir}})

    def loras(**fields: object) -> tuple[tuple[str, float], ...]:
        known = dict.fromkeys(settings.loras)
        return read_request(
            Form({"prompt": "a", **fields}), Operation.text2img, V3, settings, str, known=Known(known)
        ).loras

    assert loras(lora_model="ink, wash", lora_strength="0.45,1") == (("ink", 0.45), ("wash", 1.0))
    assert loras(lora_model="ink,wash", lora_strength=0.3) == (("ink", 0.3), ("wash", 0.3))
    assert loras(lora_model="ink") == (("ink", 1.0),)
    assert loras(lora_model="", lora_strength="0.45") == ()


@pytest.mark.parametrize("steps", range(1, 52))
def test_the_least_strength_runs_one_step_at_any_number_of_steps(steps: int) -> None:
    request = read(Operation.img2img, strength=1e-9, steps=steps)
    assert int(request.steps * request.strength) == 1
    assert math.isclose(request.strength, 1 / steps)


def test_the_old_name_of_strength() -> None:
    assert read(Operation.img2img, prompt_strength="0.4").strength == 0.4


def test_the_scheduler_names_are_the_engines() -> None:
    assert set(SCHEDULERS) == set(SAMPLERS)
    assert {name for name, scheduler in SAMPLERS.items() if not hasattr(scheduler, "add_noise")} == set(FROM_PICTURES)
    assert {each.name for each in (*NOT_HERE.values(), *FROM_PICTURES.values())} <= set(SAMPLERS) - set(FROM_PICTURES)
    assert {each.name for each in A1111.values()} <= set(SAMPLERS)
    assert {name: ALGORITHM_TYPES[name] for name in SOLVERS} == SOLVERS


def test_the_covers_are_those_of_the_maker() -> None:
    assert set(COVERS) == set(covers.COVERS)


def test_karras_spacing_is_offered_where_diffusers_has_it() -> None:
    import inspect

    having = {name for name, kind in SAMPLERS.items() if "use_karras_sigmas" in inspect.signature(kind).parameters}
    assert having == KARRAS


FIELDS = sorted({*ImageRequest.__slots__, "num_inference_steps", "scheduler", "lora_strength"} - {"operation"})


@CALM
@given(st.dictionaries(st.sampled_from(FIELDS), JUNK))
def test_junk_is_read_or_refused_by_name(fields: dict[str, object]) -> None:
    try:
        request = read(Operation.img2img, **fields)
    except NotFound:
        return
    except Invalid as invalid:
        named = invalid.field
    else:
        named = "prompt"
        assert 64 <= request.width <= 1024
        assert 0 <= request.strength <= 1
        assert 0 <= request.seed < 2**32
    assert named in {*fields, "prompt"}


@CALM
@given(st.text())
def test_a_path_id_is_a_number_or_nothing(word: str) -> None:
    try:
        assert read_path_id(word) == int(word)
    except NotFound:
        assert not (word.isascii() and word.isdecimal() and 0 < int(word) < 2**63)


@pytest.mark.parametrize("read_one", [lambda form: form.whole("n", 3, 1, 9), lambda form: form.real("n", 3.0, 1, 9)])
@CALM
@given(word=st.text())
def test_any_text_is_a_number_or_is_not(read_one: Callable[[Form], float], word: str) -> None:
    try:
        number = read_one(Form({"n": word}))
    except Invalid as invalid:
        number = 1 if invalid.field == "n" else 0
    assert 1 <= number <= 9


def test_what_is_left_out_is_as_the_checkpoint_wants_it_and_what_is_sent_wins() -> None:
    def asked(**fields: object) -> tuple[int, float]:
        choice = Choice("sprites", wants=Wants(steps=30, guidance_scale=4.0))
        form = Form({"prompt": "a", **fields})
        request = read_request(form, Operation.text2img, V3, SETTINGS, str, choice)
        return request.steps, request.guidance_scale

    assert asked() == (30, 4.0)
    assert asked(guidance_scale=7.5) == (30, 7.5)
    assert asked(steps=9) == (9, 4.0)
