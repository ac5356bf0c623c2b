"""Every family and task: our engine and diffusers' own pipeline read the same folder and draw the same picture."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers.pipelines.flux import pipeline_flux_kontext
from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit, pipeline_qwenimage_edit_plus
from PIL import Image
from torch import Tensor

from safelight.engine.families import flux, qwen_image_edit
from safelight.engine.families.family import Row
from safelight.engine.generation import Generation, LoraUse, Pixels
from safelight.engine.graphs import Graphs
from safelight.engine.images import to_pixels
from safelight.engine.model import Model
from safelight.engine.plan import check, make_plan
from safelight.engine.rows import Rows
from safelight.engine.samplers import Samplers, configure
from safelight.errors import Invalid

from . import flow_checkpoints
from .gallery import Gallery, alone, changed_by_company
from .oracle import distance, half_mask, picture, pictures_of

INIT = {"init_image": picture(96, 64), "strength": 0.6}
EDIT = {"init_image": picture(90, 60)}
SEVERAL = {**EDIT, "beside": (picture(60, 90, seed=1), picture(64, 64, seed=2))}
STACKED = {**EDIT, "beside": (picture(96, 64, seed=1), picture(90, 60, seed=2))}
INPAINT = {**INIT, "mask_image": half_mask(96, 64), "strength": 0.8}


@dataclass(frozen=True)
class Kind:
    """How one checkpoint is written, and which of diffusers' pipelines draws each task."""

    write: Callable[[Path], Path]
    pipelines: Mapping[str, str]
    told: Callable[[Generation], dict[str, Any]]  # the pipeline's own words for a request
    changes: dict[str, Any] = field(default_factory=dict)  # of a request


def guided(g: Generation) -> dict[str, Any]:
    return {"guidance_scale": g.guidance_scale, "negative_prompt": g.negative_prompt}


def distilled(g: Generation) -> dict[str, Any]:
    return guided(g) | {"true_cfg_scale": g.true_cfg_scale}


def true_guided(g: Generation) -> dict[str, Any]:
    return {"true_cfg_scale": g.guidance_scale, "negative_prompt": g.negative_prompt}


def binned(g: Generation) -> dict[str, Any]:
    return guided(g) | {"use_resolution_binning": False, "clean_caption": False}


def tasks(name: str) -> dict[str, str]:
    return {
        "text2img": f"{name}Pipeline",
        "img2img": f"{name}Img2ImgPipeline",
        "inpaint": f"{name}InpaintPipeline",
    }


SMALL = [(64, 96), (96, 64), (64, 64)]
TRAINED = sorted(flux.TRAINED_SIZES), sorted(pipeline_flux_kontext.PREFERRED_KONTEXT_RESOLUTIONS)
KINDS = {
    "sd3": Kind(flow_checkpoints.write_sd3, tasks("StableDiffusion3"), guided),
    "flux": Kind(flow_checkpoints.write_flux, tasks("Flux"), distilled, {"guidance_scale": 3.5}),
    "flux-cfg": Kind(flow_checkpoints.write_flux, tasks("Flux"), distilled, {"true_cfg_scale": 2.5}),
    "schnell": Kind(flow_checkpoints.write_schnell, tasks("Flux"), distilled),
    "fill": Kind(
        flow_checkpoints.write_fill,
        {"inpaint": "FluxFillPipeline"},
        lambda g: {"guidance_scale": 30.0},
        {"guidance_scale": 30.0},
    ),
    "kontext": Kind(
        flow_checkpoints.write_kontext,
        dict.fromkeys(("text2img", "edit", "stacked"), "FluxKontextPipeline"),
        lambda g: distilled(g) | {"max_area": g.width * g.height},
        {"guidance_scale": 2.5},
    ),
    "pixart": Kind(flow_checkpoints.write_pixart, {"text2img": "PixArtSigmaPipeline"}, binned),
    "qwen": Kind(flow_checkpoints.write_qwen, tasks("QwenImage"), true_guided, {"guidance_scale": 4.0}),
    "qwen-edit": Kind(
        flow_checkpoints.write_qwen_edit, {"edit": "QwenImageEditPipeline"}, true_guided, {"guidance_scale": 4.0}
    ),
    "qwen-edit-plus": Kind(
        flow_checkpoints.write_qwen_edit_plus,
        dict.fromkeys(("edit", "several"), "QwenImageEditPlusPipeline"),
        true_guided,
        {"guidance_scale": 4.0},
    ),
    "z-image": Kind(flow_checkpoints.write_z_image, tasks("ZImage"), guided, {"guidance_scale": 5.0}),
    "z-image-turbo": Kind(flow_checkpoints.write_z_image, tasks("ZImage"), guided, {"guidance_scale": 0.0}),
}
STARTS: dict[str, dict[str, Any]] = {
    "text2img": {},
    "img2img": INIT,
    "inpaint": INPAINT,
    "edit": EDIT,
    "several": SEVERAL,
    "stacked": STACKED,
}
EDITORS = ("kontext", "qwen-edit", "qwen-edit-plus")
CASES = [(name, task) for name, kind in KINDS.items() for task in kind.pipelines]


@pytest.fixture(scope="module")
def model_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Model]]:
    @cache
    def load(name: str) -> tuple[Path, Model]:
        folder = KINDS[name].write(tmp_path_factory.mktemp(name))
        return folder, Model.load(folder)

    return load


@pytest.fixture(autouse=True)
def small_pictures_to_edit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The models were trained on a million pixels, which take a processor seconds."""
    monkeypatch.setattr(flux, "TRAINED_SIZES", SMALL)
    monkeypatch.setattr(pipeline_flux_kontext, "PREFERRED_KONTEXT_RESOLUTIONS", SMALL)
    areas = {1024 * 1024: 96 * 64, 384 * 384: 64 * 64}
    for pipeline in (pipeline_qwenimage_edit, pipeline_qwenimage_edit_plus):
        calculate = pipeline.calculate_dimensions
        monkeypatch.setattr(
            pipeline, "calculate_dimensions", lambda area, ratio, calculate=calculate: calculate(areas[area], ratio)
        )
    for name in ("AREA", "LOOKED_AREA"):
        monkeypatch.setattr(qwen_image_edit, name, areas[getattr(qwen_image_edit, name)])


def asked(name: str, task: str, **what: Any) -> Generation:
    usual: dict[str, Any] = {"prompt": "a red cat", "negative_prompt": "a dog", "width": 96, "height": 64}
    usual |= {"steps": 4, "seed": 4}
    return Generation(**(usual | KINDS[name].changes | STARTS[task] | what))


def by_pipeline(folder: Path, name: str, task: str, g: Generation) -> tuple[Tensor, Pixels]:
    """The last latents, as the autoencoder wants them, and the picture."""
    latents: list[Tensor] = []

    def keep(_: Any, step: int, time: Any, now: dict[str, Tensor]) -> dict[str, Any]:
        latents[:] = [now["latents"][0]]
        return {}

    def look(step: int, time: Any, now: Tensor) -> None:
        latents[:] = [now[0]]

    watch = {"callback": look} if name == "pixart" else {"callback_on_step_end": keep}
    start = pictures_of(g)
    if name in EDITORS:
        start.pop("strength", None)
    whole = {"processor": flow_checkpoints.still_processor()} if name.startswith("qwen-edit") else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline: Any = getattr(diffusers, KINDS[name].pipelines[task]).from_pretrained(folder, **whole)
        pipeline.set_progress_bar_config(disable=True)
        if task == "several":
            start["image"] = [Image.fromarray(pixels) for pixels in g.pictures]
        if task == "stacked":
            start["image"] = stacked(pipeline, g)
        picture = pipeline(
            prompt=g.prompt,
            num_inference_steps=g.steps,
            generator=torch.Generator().manual_seed(g.seed),
            output_type="pt",
            **watch,
            **({"height": g.height, "width": g.width} | start | KINDS[name].told(g)),
        ).images[0]
    last = latents[0] if latents[0].ndim == 3 else flow_checkpoints.unpacked(latents[0], g.height // 8, g.width // 8)
    if (name, task) == ("sd3", "inpaint"):  # this one pipeline forgets the shift that its siblings add
        vae = pipeline.vae
        with torch.no_grad():
            picture = vae.decode(last[None] / vae.config.scaling_factor + vae.config.shift_factor).sample[0] / 2 + 0.5
    return last, to_pixels(torch.as_tensor(picture) * 2 - 1)


def stacked(pipeline: Any, g: Generation) -> Tensor:
    """Latents of the pictures, each encoded by the pipeline itself, as one picture: one below the other."""
    pixels = [pipeline.image_processor.preprocess(Image.fromarray(each), 64, 96) for each in g.pictures]
    latents: list[Tensor] = [pipeline._encode_vae_image(image=each, generator=None) for each in pixels]
    return torch.cat(latents, dim=-2)


@pytest.mark.parametrize(("name", "task"), CASES)
def test_a_picture_equals_the_pipelines_alone_and_in_company(
    name: str, task: str, model_of: Callable[[str], tuple[Path, Model]]
) -> None:
    folder, model = model_of(name)
    generation = asked(name, task)
    latents, pixels = by_pipeline(folder, name, task, generation)
    for company in ([], companions(name)):
        gallery = Gallery(exact=False, model=model, rows=Rows(Graphs(), 8, exact=False))
        others = [gallery.admit(other) for other in company]
        ticket = gallery.admit(generation)
        gallery.drain()
        assert distance(gallery.latents[ticket], latents) < 1e-4
        assert np.abs(gallery.pictures[ticket, 0].astype(int) - pixels.astype(int)).max() <= 2
        assert all((other, 0) in gallery.pictures for other in others)


@pytest.mark.parametrize("name", KINDS)
def test_exact_mode_is_exact(name: str, model_of: Callable[[str], tuple[Path, Model]]) -> None:
    _, model = model_of(name)
    rows = Rows(Graphs(), 4, exact=True)
    assert changed_by_company(model, rows, companions(name)[:4], one_by_one=True) == []


def companions(name: str) -> list[Generation]:
    """Twelve that differ in everything that may differ within a call."""
    dice = random.Random(7)
    possible = list(KINDS[name].pipelines)
    return [
        replace(
            asked(name, possible[i % len(possible)]),
            prompt=dice.choice(["a cat", "a dog, of a kind that nobody has seen", "red"]),
            steps=dice.choice([2, 3, 5]),
            seed=i,
        )
        for i in range(12)
    ]


def test_z_image_shares_calls_across_sizes_and_lengths_of_prompts(
    model_of: Callable[[str], tuple[Path, Model]], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, model = model_of("z-image")
    rows = Rows(Graphs(), 8, exact=True)
    sizes = [(64, 64), (96, 64), (64, 96), (64, 32)]
    known = [
        asked("z-image", "text2img", width=width, height=height, prompt="cat " * (1 + i), seed=i)
        for i, (width, height) in enumerate(sizes)
    ]
    solo = [alone(generation, model, rows)[0] for generation in known]
    calls: list[int] = []
    call = model.denoise

    def counted(rows: Sequence[Row], loras: Sequence[LoraUse] = ()) -> list[Tensor]:
        calls.append(len({row.x.shape for row in rows}))
        return call(rows, loras)

    monkeypatch.setattr(model, "denoise", counted)
    gallery = Gallery(model=model, rows=rows)
    tickets = [gallery.admit(generation) for generation in known]
    gallery.drain()
    assert calls == [len(sizes)] * known[0].steps
    for ticket, expected in zip(tickets, solo, strict=True):
        assert np.array_equal(gallery.pictures[ticket, 0], expected)


def test_ancestral_noise_is_the_pictures_own(model_of: Callable[[str], tuple[Path, Model]]) -> None:
    """The pipeline's step takes no generator, so here all of its noise is the global one's."""
    folder, model = model_of("sd3")
    generation = asked("sd3", "text2img", sampler="EulerAncestralDiscrete")
    pipeline: Any = diffusers.StableDiffusion3Pipeline.from_pretrained(folder)
    pipeline.scheduler = pipeline.scheduler.from_config(pipeline.scheduler.config, stochastic_sampling=True)
    pipeline.set_progress_bar_config(disable=True)
    with torch.random.fork_rng():
        torch.manual_seed(generation.seed)
        told = guided(generation) | {"width": 96, "height": 64, "num_inference_steps": 4, "output_type": "latent"}
        latents = pipeline(generation.prompt, **told).images[0]
    gallery = Gallery(exact=False, model=model, rows=Rows(Graphs(), 8, exact=False))
    ticket = gallery.admit(generation)
    gallery.drain()
    assert distance(gallery.latents[ticket], latents) < 1e-4


def test_samplers_for_other_models_are_mapped_or_refused_by_name(
    model_of: Callable[[str], tuple[Path, Model]],
) -> None:
    _, model = model_of("schnell")

    def table(sampler: str | None) -> Any:
        return make_plan(asked("schnell", "text2img", sampler=sampler), model, Samplers()).table

    own = [step.weights.tolist() for step in table(None).steps]
    assert own == [step.weights.tolist() for step in table("EulerDiscreteScheduler").steps]
    assert own == [step.weights.tolist() for step in table("DDIM").steps]
    with pytest.raises(
        Invalid, match="sampler PNDM is not for checkpoints that predict a flow, as this one; one of Fl"
    ):
        table("PNDM")
    with pytest.raises(Invalid, match="sampler FlowMatchEulerDiscrete is only for checkpoints that predict a flow"):
        configure(diffusers.DDIMScheduler(), "FlowMatchEulerDiscrete")


def test_a_size_that_the_network_cannot_draw_is_drawn_near_it_and_delivered(
    model_of: Callable[[str], tuple[Path, Model]],
) -> None:
    plan = make_plan(asked("schnell", "text2img", width=104, height=72), model_of("schnell")[1], Samplers())
    assert (plan.width, plan.height) == (96, 64)


def test_a_picture_to_edit_is_shown_at_a_size_of_the_training(model_of: Callable[[str], tuple[Path, Model]]) -> None:
    ours, theirs = TRAINED
    assert ours == theirs
    _, model = model_of("kontext")
    assert make_plan(asked("kontext", "edit"), model, Samplers()).references == [(16, 8, 12)]
    with pytest.raises(Invalid, match=r"mask_image is not possible with .* which edits by instruction"):
        make_plan(asked("kontext", "edit", mask_image=half_mask(90, 60)), model, Samplers())


def test_pictures_of_an_instruction_are_counted(model_of: Callable[[str], tuple[Path, Model]]) -> None:
    five = {"beside": (picture(64, 64),) * 4}
    for name, said in (
        ("kontext", "init_image must be at most 4 pictures for "),
        ("qwen-edit", r"init_image must be one picture: .* has learned instructions about one; Qwen-Image-Edit-Plus"),
        ("schnell", "init_image must be one picture: .* does not edit by instruction"),
    ):
        start = "edit" if name in EDITORS else "img2img"
        with pytest.raises(Invalid, match=said):
            make_plan(asked(name, start, **five), model_of(name)[1], Samplers())
    for broken in ({"init_image": None}, {"beside": (half_mask(64, 64),)}):
        with pytest.raises(Invalid, match="init_image must be RGB pictures"):
            check(asked("kontext", "edit", **({"beside": (picture(64, 64),)} | broken)))


def test_several_pictures_lie_in_one_plane_as_little_apart_as_they_can() -> None:
    wide, high = torch.zeros(1, 1, 8, 12), torch.zeros(1, 1, 12, 8)
    assert flux.corners([wide, wide, high, wide]) == [(0, 0), (4, 0), (0, 6), (8, 0)]
    assert flux.positions(high, 1, 0, 6)[[0, 1, -1]].tolist() == [[1, 0, 6], [1, 0, 7], [1, 5, 9]]


def test_the_layout_of_pictures_leaves_weights_of_frames_alone(model_of: Callable[[str], tuple[Path, Model]]) -> None:
    """As on CUDA, where channels_last is usual."""
    folder, model = model_of("qwen")
    pixels = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0)) * 2 - 1
    turned = Model.load(folder, channels_last=True).encode_image(pixels)
    torch.testing.assert_close(turned.mean, model.encode_image(pixels).mean, rtol=1e-4, atol=1e-5)
