"""Whole checkpoints of the true architectures: our engine and the diffusers pipeline read the same folder."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor

from safelight.engine.generation import Generation, Spacing
from safelight.engine.model import Model

from .oracle import by_engine, distance, half_mask, picture, pictures_of, scheduler_named

CASES: list[tuple[str, str, dict[str, Any]]] = [
    ("sd1", "StableDiffusionPipeline", {}),
    ("sd1", "StableDiffusionImg2ImgPipeline", {"init_image": picture(), "strength": 0.6}),
    ("sd1", "StableDiffusionInpaintPipeline", {"init_image": picture(), "mask_image": half_mask(), "strength": 0.8}),
    ("sd1_inpaint", "StableDiffusionInpaintPipeline", {"init_image": picture(), "mask_image": half_mask()}),
    ("sd2", "StableDiffusionPipeline", {"sampler": "DPMSolverMultistep", "spacing": Spacing.karras}),
    ("sdxl", "StableDiffusionXLPipeline", {}),
    (
        "sdxl",
        "StableDiffusionXLImg2ImgPipeline",
        {"init_image": picture(), "strength": 0.6, "sampler": "EulerAncestralDiscrete"},
    ),
]


@pytest.mark.parametrize(("checkpoint", "kind", "what"), CASES)
def test_latents_equal_the_pipelines(
    checkpoint: str, kind: str, what: dict[str, Any], request: pytest.FixtureRequest, traced: Path
) -> None:
    compare(checkpoint, kind, what, request, traced, openvino=False)


@pytest.mark.slow
@pytest.mark.parametrize(("checkpoint", "kind", "what"), CASES)
def test_latents_by_openvino_equal_the_pipelines(
    checkpoint: str, kind: str, what: dict[str, Any], request: pytest.FixtureRequest, traced: Path
) -> None:
    """That its calls equal torch's, of each of these checkpoints, is asked by ``test_openvino`` every time."""
    compare(checkpoint, kind, what, request, traced, openvino=True)


def compare(
    checkpoint: str, kind: str, what: dict[str, Any], request: pytest.FixtureRequest, traced: Path, *, openvino: bool
) -> None:
    folder: Path = request.getfixturevalue(checkpoint)
    asked = Generation("a red cat", "a dog", width=64, height=64, steps=6, seed=4, **what)
    model = Model.load(folder, device=torch.device("cpu"), dtype=torch.float32, openvino=openvino, kept=traced)
    ours = by_engine(model, [asked], rows=2)[0]
    assert distance(ours, by_folder(folder, kind, asked)) < 1e-4


def test_a_checkpoint_that_wants_its_guidance_tempered_equals_the_pipeline_that_is_told_to(
    sd1: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(sd1, tmp_path / "tempered")
    (folder / "safelight.json").write_text('{"guidance_rescale": 0.7}')
    tempered, plain = (Model.load(path, device=torch.device("cpu"), dtype=torch.float32) for path in (folder, sd1))
    asked = Generation("a red cat", "a dog", width=64, height=64, steps=6, seed=4, guidance_scale=20.0)
    ours = by_engine(tempered, [asked], rows=2)[0]
    kind = "StableDiffusionPipeline"
    assert distance(ours, by_folder(folder, kind, asked, guidance_rescale=0.7)) < 1e-4
    assert distance(ours, by_engine(plain, [asked], rows=2)[0]) > 1e-3


def by_folder(folder: Path, kind: str, asked: Generation, **more: float) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline: Any = getattr(diffusers, kind).from_pretrained(folder, safety_checker=None)
        pipeline.set_progress_bar_config(disable=True)
        if asked.sampler is not None:
            options = {"use_karras_sigmas": True} if asked.spacing == Spacing.karras else {}
            pipeline.scheduler = scheduler_named(asked.sampler, pipeline.scheduler.config, **options)
        sized = pictures_of(asked)
        latents: Tensor = pipeline(
            prompt=asked.prompt,
            negative_prompt=asked.negative_prompt,
            num_inference_steps=asked.steps,
            guidance_scale=asked.guidance_scale,
            generator=[torch.Generator().manual_seed(asked.seed)],
            output_type="latent",
            **sized,
            **more,
        ).images
    return latents[0]
