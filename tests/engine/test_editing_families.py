"""Checkpoints that edit by instruction, or keep a picture's depth, against diffusers' own pipelines; and pictures that are mixed."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

from safelight.engine.families.autoencoder import Moments
from safelight.engine.families.family import Conditioning
from safelight.engine.generation import Generation, Ingredient, Pixels
from safelight.engine.graphs import Graphs
from safelight.engine.images import to_pixels
from safelight.engine.mixing import mixed_pictures, mixed_texts
from safelight.engine.model import Model
from safelight.engine.plan import check, make_plan
from safelight.engine.rows import Rows
from safelight.engine.samplers import Samplers, configure
from safelight.errors import EngineFailed, Invalid

from . import checkpoints
from .gallery import Gallery, alone, changed_by_company
from .oracle import half_mask, picture

WRITE: dict[str, Callable[[Path], Path]] = {
    "pix2pix": checkpoints.write_pix2pix,
    "depth2img": checkpoints.write_depth,
    "sd1": checkpoints.write_sd1,
}
PIPELINES = {"pix2pix": "StableDiffusionInstructPix2PixPipeline", "depth2img": "StableDiffusionDepth2ImgPipeline"}
ModelOf = Callable[[str], tuple[Path, Model]]


@pytest.fixture(scope="module")
def model_of(tmp_path_factory: pytest.TempPathFactory) -> ModelOf:
    @cache
    def load(name: str) -> tuple[Path, Model]:
        folder = WRITE[name](tmp_path_factory.mktemp(name) / "it")
        return folder, Model.load(folder)

    return load


def asked(**what: Any) -> Generation:
    usual: dict[str, Any] = {"prompt": "a red cat", "negative_prompt": "a dog", "width": 96, "height": 64}
    usual |= {"steps": 4, "seed": 4, "init_image": picture(96, 64), "strength": 0.8, "image_guidance_scale": 1.7}
    return Generation(**(usual | what))


def companions(name: str) -> list[Generation]:
    dice = random.Random(7)
    guidances = [7.5, 1.0, 3.0]
    return [
        asked(
            prompt=dice.choice(["a cat", "red", "a dog, of a kind"]),
            steps=dice.choice([2, 3, 5]),
            seed=i,
            guidance_scale=guidances[i % 3],
            init_image=picture(96, 64, seed=i % 2),
            layout_share=0.5 if name == "sd1" and i == 2 else 0.0,
            panorama=name == "sd1" and i == 0,
            mixture=(Ingredient(picture(96, 64, seed=8 + i), "a dog", 0.5),) if name == "sd1" and i % 2 else (),
        )
        for i in range(4)
    ]


def pipeline_of(kind: Any, folder: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline = kind.from_pretrained(folder, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def drawn_by(pipeline: Any, g: Generation, **own: Any) -> Pixels:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shown = pipeline(
            prompt=g.prompt,
            negative_prompt=g.negative_prompt,
            num_inference_steps=g.steps,
            guidance_scale=g.guidance_scale,
            generator=torch.Generator().manual_seed(g.seed),
            output_type="pt",
            **own,
        ).images[0]
    return to_pixels(torch.as_tensor(shown) * 2 - 1)


def by_pipeline(folder: Path, name: str, g: Generation) -> Pixels:
    own = {"image_guidance_scale": g.image_guidance_scale} if name == "pix2pix" else {"strength": g.strength}
    assert g.init_image is not None
    pipeline = pipeline_of(getattr(diffusers, PIPELINES[name]), folder)
    return drawn_by(pipeline, g, image=Image.fromarray(g.init_image), **own)


def mixed_by_pipeline(folder: Path, g: Generation) -> Pixels:
    """Image to image, its latents mixed with the noisy picture's after each step, as MagicMix has it."""
    pipeline = pipeline_of(diffusers.StableDiffusionImg2ImgPipeline, folder)
    pipeline.scheduler = diffusers.DDIMScheduler.from_config(pipeline.scheduler.config, clip_sample=False)
    assert g.init_image is not None
    dice = torch.Generator().manual_seed(g.seed)
    pixels = pipeline.image_processor.preprocess(Image.fromarray(g.init_image))
    init = pipeline.vae.encode(pixels).latent_dist.sample(dice) * pipeline.vae.config.scaling_factor
    noise, first = torch.randn(init.shape, generator=dice), g.steps - int(g.strength * g.steps)

    def mix(_: Any, step: int, timestep: Any, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        if (reached := first + step + 1) >= g.steps - int(g.layout_until * g.steps):
            return {}
        noisy = pipeline.scheduler.add_noise(init, noise, pipeline.scheduler.timesteps[reached][None])
        return {"latents": (1 - g.layout_share) * state["latents"] + g.layout_share * noisy}

    return drawn_by(pipeline, g, image=Image.fromarray(g.init_image), strength=g.strength, callback_on_step_end=mix)


def far(ours: Pixels, theirs: Pixels) -> int:
    return int(np.abs(ours.astype(int) - theirs.astype(int)).max())


@pytest.mark.parametrize(("name", "guidance"), [("pix2pix", 7.5), ("pix2pix", 1.0), ("depth2img", 7.5)])
def test_a_picture_equals_the_pipelines_alone_and_in_company(name: str, guidance: float, model_of: ModelOf) -> None:
    folder, model = model_of(name)
    generation = asked(guidance_scale=guidance)
    theirs = by_pipeline(folder, name, generation)
    for company in ([], companions(name)):
        gallery = Gallery(exact=False, model=model, rows=Rows(Graphs(), 8, exact=False))
        others = [gallery.admit(other) for other in company]
        ticket = gallery.admit(generation)
        gallery.drain()
        assert far(gallery.pictures[ticket, 0], theirs) <= 2
        assert all((other, 0) in gallery.pictures for other in others)


def test_a_layout_is_kept_as_long_and_as_strongly_as_asked_alone_and_in_company(model_of: ModelOf) -> None:
    folder, model = model_of("sd1")
    generation = asked(steps=10, strength=0.7, layout_share=0.4, layout_until=0.3, sampler="DDIM")
    theirs = mixed_by_pipeline(folder, generation)
    rows = Rows(Graphs(), 8, exact=False)
    assert far(theirs, alone(replace(generation, layout_share=0.0), model, rows)[0]) > 2
    for company in ([], companions("sd1")):
        gallery = Gallery(exact=False, model=model, rows=rows)
        for other in company:
            gallery.admit(other)
        ticket = gallery.admit(generation)
        gallery.drain()
        assert far(gallery.pictures[ticket, 0], theirs) <= 2


class Narrow(diffusers.StableDiffusionPanoramaPipeline):  # type: ignore[misc]  # untyped here
    """With views of as many latents as the small network was trained on."""

    def get_views(self, height: int, width: int, **_: Any) -> list[tuple[int, int, int, int]]:
        views: list[tuple[int, int, int, int]] = super().get_views(height, width, window_size=8, stride=1)
        return views


@pytest.mark.parametrize(("sampler", "guidance"), [("DDIM", 7.5), ("DPMSolverMultistep", 1.0)])
def test_a_panorama_equals_the_pipelines_alone_and_in_company(model_of: ModelOf, sampler: str, guidance: float) -> None:
    folder, model = model_of("sd1")
    g = asked(init_image=None, panorama=True, guidance_scale=guidance, sampler=sampler)
    pipeline = pipeline_of(Narrow, folder)
    pipeline.scheduler = configure(pipeline.scheduler, sampler)
    theirs = drawn_by(pipeline, g, height=g.height, width=g.width)
    rows = Rows(Graphs(), 8, exact=False)  # fewer than the ten of the guided picture's views
    assert far(theirs, alone(replace(g, panorama=False), model, rows)[0]) > 2
    for company in ([], [*companions("sd1"), asked(width=64, height=64, init_image=None)]):
        gallery = Gallery(exact=False, model=model, rows=rows)
        for other in company:
            gallery.admit(other)
        ticket = gallery.admit(g)
        gallery.drain()
        assert far(gallery.pictures[ticket, 0], theirs) <= 2


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ({"layout_share": 1.1}, "layout_share must be between 0 and 1"),
        ({"layout_until": 0.9}, "layout_until between 0 and strength"),
        ({"init_image": None}, "with an init image and no mask only"),
        ({"mask_image": half_mask(96, 64)}, "with an init image and no mask only"),
    ],
)
def test_layouts_that_make_no_sense_are_refused(what: dict[str, Any], said: str) -> None:
    with pytest.raises(Invalid, match=said):
        check(asked(**({"layout_share": 0.5} | what)))


@pytest.mark.parametrize("name", ["pix2pix", "sd1"])
def test_exact_mode_is_exact(name: str, model_of: ModelOf) -> None:
    _, model = model_of(name)
    rows = Rows(Graphs(), 6, exact=True)
    assert changed_by_company(model, rows, companions(name)[:3], one_by_one=True) == []


@pytest.mark.parametrize("name", PIPELINES)
def test_what_it_cannot_do_is_refused_by_name(name: str, model_of: ModelOf) -> None:
    _, model = model_of(name)
    with pytest.raises(Invalid, match=r"init_image is required by .*, which edits pictures"):
        make_plan(asked(init_image=None), model, Samplers())


def test_an_instruction_takes_neither_mask_nor_mixture(model_of: ModelOf) -> None:
    _, model = model_of("pix2pix")
    with pytest.raises(Invalid, match="mask_image is not possible with"):
        make_plan(asked(mask_image=half_mask(96, 64)), model, Samplers())
    with pytest.raises(Invalid, match="init_image must be one picture"):
        make_plan(asked(mixture=(Ingredient(picture(96, 64, 1), ""),)), model, Samplers())


def test_single_files_are_told_by_their_channels(tmp_path: Path) -> None:
    folder = checkpoints.write_pix2pix(tmp_path / "folder", clip=True)
    model = Model.load(checkpoints.write_single_file(tmp_path / "one.safetensors", folder))
    assert model.family.holds
    deep = checkpoints.write_depth(tmp_path / "deep", clip=True)
    with pytest.raises(EngineFailed, match="that is told the depth loads from a diffusers folder"):
        Model.load(checkpoints.write_single_file(tmp_path / "deep.safetensors", deep))


def test_the_depth_of_an_even_picture_is_even(model_of: ModelOf) -> None:
    _, model = model_of("depth2img")
    seen = model.see(np.full((64, 96, 3), 90, np.uint8), (4, 8, 12))
    assert seen.shape == (1, 8, 12)
    assert bool(seen.isfinite().all())


def test_a_mixture_of_one_kind_is_that_kind_and_shares_are_relative(model_of: ModelOf) -> None:
    _, model = model_of("sd1")
    rows = Rows(Graphs(), 4, exact=True)
    first, second = picture(96, 64, 1), picture(96, 64, 2)

    def mixed(share: float, other: float) -> Pixels:
        also = (Ingredient(second, "a dog", other),)
        return alone(asked(prompt="a cat", init_image=first, share=share, mixture=also), model, rows)[0]

    plain = [
        alone(asked(prompt=word, init_image=shown), model, rows)[0]
        for word, shown in (("a cat", first), ("a dog", second))
    ]
    assert np.array_equal(mixed(1, 0), plain[0])
    assert np.array_equal(mixed(0, 3), plain[1])
    between = mixed(0.5, 0.5)
    assert np.array_equal(between, mixed(2, 2))
    assert min(far(between, each) for each in plain) > 4


def test_moments_and_texts_are_mixed_by_their_shares() -> None:
    one, two = (
        Moments(torch.full((1, 4, 2, 2), mean), torch.full((1, 4, 2, 2), std)) for mean, std in ((1.0, 3.0), (5.0, 4.0))
    )
    mixed = mixed_pictures([one, two], [0.75, 0.25])
    assert float(mixed.mean[0, 0, 0, 0]) == 2.0
    assert float(mixed.std[0, 0, 0, 0]) == pytest.approx((2.25**2 + 1) ** 0.5)
    texts = [Conditioning(torch.full((3, 2), value), torch.full((2,), value)) for value in (0.0, 4.0)]
    told = mixed_texts(texts, [0.5, 0.5])
    assert told.pooled is not None
    assert (set(told.embedding.flatten().tolist()), set(told.pooled.tolist())) == ({2.0}, {2.0})
    with pytest.raises(Invalid, match="prompt must be one for all pictures"):
        mixed_texts([texts[0], replace(texts[1], embedding=torch.zeros(4, 2))], [0.5, 0.5])


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ({"share": -1.0}, "init_image_weights must be numbers of at least 0"),
        ({"share": float("nan")}, "init_image_weights must be numbers"),
        ({"init_image": None}, "init_image must be RGB pictures"),
        ({"mask_image": half_mask(96, 64)}, "mask_image is not possible where pictures are mixed"),
        ({"weighed": True}, "prompt must not weigh words"),
    ],
)
def test_mixtures_that_make_no_sense_are_refused(what: dict[str, Any], said: str) -> None:
    with pytest.raises(Invalid, match=said):
        check(asked(mixture=(Ingredient(picture(96, 64), "a cat"),), **what))
