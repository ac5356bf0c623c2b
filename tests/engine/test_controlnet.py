"""ControlNets against diffusers' own pipelines, alone and among others, and what their hints are made of."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import diffusers
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from safelight.engine.generation import Control, Generation
from safelight.engine.graphs import Graphs
from safelight.engine.hints import HINTS, to_hint
from safelight.engine.model import Model
from safelight.engine.rows import Rows
from safelight.errors import Invalid

from . import checkpoints
from .gallery import changed_by_company
from .oracle import by_engine, distance, half_mask, picture, pictures_of, scheduler_named

LINES = picture(seed=11)
SHAPES = picture(seed=12)
TWO = (Control("lines", LINES, scale=0.8, end=0.7), Control("shapes", SHAPES, scale=1.4, start=0.2))
ASKED = Generation("a red cat", "a dog", width=64, height=64, steps=4, seed=4, controls=TWO)
START = {"init_image": picture(), "strength": 0.7}
CASES: list[tuple[str, str, dict[str, Any]]] = [
    ("sd1", "StableDiffusionControlNetPipeline", {}),
    ("sd1", "StableDiffusionControlNetPipeline", {"controls": TWO[:1], "guidance_scale": 1.0}),
    ("sd1", "StableDiffusionControlNetImg2ImgPipeline", {**START, "sampler": "DPMSolverMultistep"}),
    ("sd1", "StableDiffusionControlNetInpaintPipeline", {**START, "mask_image": half_mask()}),
    ("sdxl", "StableDiffusionXLControlNetPipeline", {"sampler": "EulerAncestralDiscrete"}),
    ("sdxl", "StableDiffusionXLControlNetImg2ImgPipeline", START),
    ("sdxl", "StableDiffusionXLControlNetInpaintPipeline", {**START, "mask_image": half_mask()}),
]


@pytest.fixture(scope="session")
def steering(request: pytest.FixtureRequest, checkpoint_folder: Path) -> dict[str, dict[str, Path]]:
    """Two ControlNets for each of two kinds of checkpoint."""
    return {
        kind: {
            name: checkpoints.write_controlnet(
                checkpoint_folder / f"{kind}-{name}", request.getfixturevalue(kind), seed
            )
            for seed, name in enumerate(("lines", "shapes"), 5)
        }
        for kind in ("sd1", "sdxl")
    }


def loaded(folder: Path, controlnets: dict[str, Path], **options: Any) -> Model:
    return Model.load(folder, dtype=torch.float32, controlnets=controlnets, **options)


@pytest.mark.parametrize(("checkpoint", "kind", "what"), CASES)
def test_latents_equal_the_pipelines_alone_and_among_others(
    checkpoint: str, kind: str, what: dict[str, Any], steering: dict[str, dict[str, Path]], request: Any
) -> None:
    folder: Path = request.getfixturevalue(checkpoint)
    asked = replace(ASKED, **what)
    model = loaded(folder, steering[checkpoint])
    others = [replace(ASKED, controls=(), seed=7), replace(ASKED, controls=TWO[1:], steps=3), replace(ASKED, seed=9)]
    truth = by_pipeline(folder, steering[checkpoint], kind, asked)
    assert distance(by_engine(model, [asked])[0], truth) < 1e-4
    assert distance(by_engine(model, [asked, *others], rows=8)[0], truth) < 1e-4
    assert distance(by_engine(model, [replace(asked, controls=())])[0], truth) > 1e-3


def test_one_that_comes_later_is_used_until_it_goes(sd1: Path, steering: dict[str, dict[str, Path]]) -> None:
    known = dict[str, Path]()
    controlnets = loaded(sd1, known).controlnets
    for _ in range(2):
        with pytest.raises(Invalid, match="is not a ControlNet"):
            controlnets.get("later")
        known["later"] = steering["sd1"]["lines"]
        assert controlnets.get("later").training is False
        del known["later"]
        controlnets.forget("later")
    assert controlnets.bytes == 0


def by_pipeline(folder: Path, controlnets: dict[str, Path], kind: str, asked: Generation) -> Tensor:
    nets = [diffusers.ControlNetModel.from_pretrained(controlnets[use.name]) for use in asked.controls]
    hints = [Image.fromarray(use.picture) for use in asked.controls]
    drawn = {"control_image" if asked.init_image is not None else "image": hints}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline: Any = getattr(diffusers, kind).from_pretrained(folder, controlnet=nets, safety_checker=None)
        pipeline.set_progress_bar_config(disable=True)
        if asked.sampler is not None:
            pipeline.scheduler = scheduler_named(asked.sampler, pipeline.scheduler.config)
        latents: Tensor = pipeline(
            prompt=asked.prompt,
            negative_prompt=asked.negative_prompt,
            num_inference_steps=asked.steps,
            guidance_scale=asked.guidance_scale,
            generator=[torch.Generator().manual_seed(asked.seed)],
            output_type="latent",
            controlnet_conditioning_scale=[use.scale for use in asked.controls],
            control_guidance_start=[use.start for use in asked.controls],
            control_guidance_end=[use.end for use in asked.controls],
            **({"height": asked.height, "width": asked.width} | pictures_of(asked) | drawn),
        ).images
    return latents[0]


@pytest.mark.parametrize("openvino", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["torch", "openvino"])
def test_in_exact_mode_neighbours_change_no_byte(
    sd1: Path, steering: dict[str, dict[str, Path]], traced: Path, openvino: bool
) -> None:
    model = loaded(sd1, steering["sd1"], openvino=openvino, kept=traced)
    rows = Rows(Graphs(), 4, exact=True)
    uses: list[tuple[Control, ...]] = [(), TWO, TWO[:1], (), TWO[1:]]
    company = [replace(ASKED, seed=seed, steps=3, controls=use) for seed, use in enumerate(uses)]
    assert changed_by_company(model, rows, company) == []


def test_a_picture_without_control_shares_its_calls_with_one_that_has_it(
    sd1: Path, steering: dict[str, dict[str, Path]]
) -> None:
    model = loaded(sd1, steering["sd1"])
    calls: list[int] = []
    model.family.networks["unet"].register_forward_pre_hook(lambda _, inputs: calls.append(len(inputs[0])))
    by_engine(model, [replace(ASKED, controls=(), steps=2), replace(ASKED, steps=2)], rows=4)
    assert calls == [4] * len(calls)


def test_a_file_in_the_original_layout_is_the_same_network(
    sd1: Path, steering: dict[str, dict[str, Path]], tmp_path: Path
) -> None:
    folder = steering["sd1"]["lines"]
    files = [
        checkpoints.write_controlnet_file(tmp_path / f"{i}.safetensors", folder, prefix)
        for i, prefix in enumerate(("control_model.", ""))
    ]
    files.append(folder / "diffusion_pytorch_model.safetensors")
    paths = {str(i): path for i, path in enumerate([folder, *files])}
    controlnets = loaded(sd1, paths).controlnets
    truth = controlnets.get("0").state_dict()
    for name in ("1", "2", "3"):
        read = controlnets.get(name).state_dict()
        assert read.keys() == truth.keys()
        assert all(torch.equal(read[part], truth[part]) for part in truth)


def test_what_cannot_be_is_refused_by_name(sd1: Path, steering: dict[str, dict[str, Path]], sd2: Path) -> None:
    model = loaded(sd1, {"lines": steering["sdxl"]["lines"], "unet": sd1 / "unet"})
    for name, rule in (("lines", "another kind"), ("unet", "class"), ("nothing", "not a ControlNet")):
        with pytest.raises(Invalid, match=rule) as refusal:
            by_engine(model, [replace(ASKED, controls=(Control(name, LINES),))])
        assert refusal.value.field == "controlnet_model"


def test_hints_are_what_the_published_networks_were_shown() -> None:
    photo = picture(96, 64, seed=3)
    photo[16:48, 24:72] = (250, 250, 250)
    edges = to_hint("canny", photo, None, 96, 64)[0]
    assert np.array_equal(edges[0].numpy() * 255, cv2.Canny(photo, 100, 200))
    assert edges.shape == (3, 64, 96)
    assert set(edges.flatten().tolist()) == {0.0, 1.0}
    tones = (to_hint("gray", photo, None, 96, 64)[0, 0] * 255).round().numpy()
    assert np.abs(tones - np.asarray(Image.fromarray(photo).convert("L"), np.float32)).max() <= 1
    assert torch.equal(to_hint("tile", photo, None, 96, 64), to_hint("plain", photo, None, 96, 64))
    for kind in HINTS:
        hint = to_hint(kind, photo, half_mask(96, 64), 48, 32)
        assert hint.shape == (1, 3, 32, 48)
        assert bool(hint.isfinite().all())
    masked = to_hint("inpaint", photo, half_mask(96, 64), 96, 64)[0]
    assert bool((masked[:, :, 48:] == -1).all())
    assert bool((masked[:, :, :48] >= 0).all())


def test_edges_and_strokes_are_where_the_picture_changes() -> None:
    """A black square on white: flat places are black in every hint of lines, its border is not."""
    square = np.full((64, 64, 3), 255, np.uint8)
    square[16:48, 16:48] = 0
    for kind in ("canny", "softedge", "scribble"):
        hint = to_hint(kind, square, None, 64, 64)[0, 0]
        assert float(hint[:6, :6].max()) == 0
        assert float(hint[30:34, 12:20].max()) == 1
