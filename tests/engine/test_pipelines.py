"""Whole checkpoints of the true architectures: our engine and the diffusers pipeline read the same folder."""

from __future__ import annotations

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


@pytest.mark.parametrize("openvino", [False, True], ids=["torch", "openvino"])
@pytest.mark.parametrize(("checkpoint", "kind", "what"), CASES)
def test_latents_equal_the_pipelines(
    checkpoint: str, kind: str, what: dict[str, Any], openvino: bool, request: pytest.FixtureRequest, traced: Path
) -> None:
    folder: Path = request.getfixturevalue(checkpoint)
    asked = Generation("a red cat", "a dog", width=64, height=64, steps=6, seed=4, **what)
    model = Model.load(folder, device=torch.device("cpu"), dtype=torch.float32, openvino=openvino, kept=traced)
    ours = by_engine(model, [asked], rows=2)[0]
    assert distance(ours, by_folder(folder, kind, asked)) < 1e-4


def by_folder(folder: Path, kind: str, asked: Generation) -> Tensor:
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
        ).images
    return latents[0]
