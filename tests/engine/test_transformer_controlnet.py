"""ControlNets of FLUX, Qwen-Image and Stable Diffusion 3 against diffusers' own pipelines, alone and among others."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from PIL import Image
from torch import Tensor, nn

from safelight.engine.encode import Encoder, Start
from safelight.engine.generation import Control, Generation
from safelight.engine.graphs import Graphs
from safelight.engine.model import Model
from safelight.engine.pace import Pace
from safelight.engine.plan import make_plan
from safelight.engine.rows import Rows
from safelight.engine.samplers import Samplers
from safelight.errors import Invalid

from . import flow_checkpoints
from .checkpoints import seeded
from .gallery import changed_by_company
from .oracle import by_engine, distance, half_mask, picture, pictures_of

LINES, SHAPES = picture(96, 64, seed=11), picture(96, 64, seed=12)
TWO = (Control("lines", LINES, scale=0.8, end=0.7), Control("shapes", SHAPES, scale=1.4, start=0.2))
ASKED = Generation("a red cat", "a dog", width=96, height=64, steps=4, seed=4, guidance_scale=4.0, controls=TWO)
START: dict[str, Any] = {"init_image": picture(96, 64), "strength": 0.7}
ONE = {"controls": TWO[:1]}
CASES: list[tuple[str, str, dict[str, Any]]] = [
    ("flux", "FluxControlNetPipeline", {}),
    ("flux", "FluxControlNetPipeline", {**ONE, "true_cfg_scale": 2.5}),
    ("flux", "FluxControlNetPipeline", {"controls": (Control("few", LINES),)}),
    ("flux", "FluxControlNetImg2ImgPipeline", {**ONE, **START}),
    ("flux", "FluxControlNetInpaintPipeline", {**ONE, **START, "mask_image": half_mask(96, 64)}),
    ("qwen", "QwenImageControlNetPipeline", {"controls": (TWO[0], replace(TWO[1], name="lines"))}),  # all it can do
    ("qwen", "QwenImageControlNetPipeline", {**ONE, "guidance_scale": 1.0}),
    ("sd3", "StableDiffusion3ControlNetPipeline", {}),
    ("sd3-large", "StableDiffusion3ControlNetPipeline", ONE),
]
FLUX: dict[str, Any] = {"num_layers": 3, "num_single_layers": 2}
NETS: dict[str, tuple[Callable[[Path], Path], Any, list[dict[str, Any]]]] = {  # each has fewer layers than its network
    "flux": (
        lambda folder: flow_checkpoints.write_flux(folder, **FLUX),
        diffusers.FluxControlNetModel,
        [
            {"num_layers": 2, "num_single_layers": 1},
            {"num_layers": 2, "num_single_layers": 1},
            {"num_layers": 1, "num_single_layers": 0, "guidance_embeds": False},
        ],
    ),
    "qwen": (flow_checkpoints.write_qwen, diffusers.QwenImageControlNetModel, [{"num_layers": 1}, {"num_layers": 2}]),
    "sd3": (flow_checkpoints.write_sd3, diffusers.SD3ControlNetModel, [{"num_layers": 1}, {"num_layers": 2}]),
    "sd3-large": (
        flow_checkpoints.write_sd3,
        diffusers.SD3ControlNetModel,
        [
            {
                "num_layers": 1,
                "joint_attention_dim": None,
                "use_pos_embed": False,
                "force_zeros_for_pooled_projection": False,
            }
        ],
    ),
}


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, dict[str, Path], Model]]:
    @cache
    def load(name: str) -> tuple[Path, dict[str, Path], Model]:
        write, kind, changes = NETS[name]
        root = tmp_path_factory.mktemp(name)
        folder = write(root / "checkpoint")
        nets = {
            net: write_net(root / net, folder, kind, seed, change)
            for seed, (net, change) in enumerate(zip(("lines", "shapes", "few"), changes, strict=False), 5)
        }
        return folder, nets, Model.load(folder, controlnets=nets)

    return load


def write_net(folder: Path, checkpoint: Path, kind: Any, seed: int, changes: dict[str, Any]) -> Path:
    """None of its layers is still zero as before training."""
    config = json.loads((checkpoint / "transformer" / "config.json").read_text())
    known = {name: value for name, value in config.items() if name in kind.__init__.__wrapped__.__code__.co_varnames}
    if kind is diffusers.SD3ControlNetModel:
        known |= {"pos_embed_type": "sincos", "dual_attention_layers": ()}
    network = seeded(kind, seed, **(known | changes))
    generator = torch.Generator().manual_seed(seed)
    for weight in network.parameters():
        if not weight.any():
            nn.init.normal_(weight, std=0.05, generator=generator)
    network.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(("name", "kind", "what"), CASES)
def test_latents_equal_the_pipelines_alone_and_among_others(
    name: str, kind: str, what: dict[str, Any], loaded: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, nets, model = loaded(name)
    asked = replace(ASKED, **what)
    others = [replace(ASKED, controls=(), seed=7), replace(asked, steps=3), replace(ASKED, controls=TWO[:1], seed=9)]
    truth = by_pipeline(folder, nets, name, kind, asked, monkeypatch)
    assert distance(by_engine(model, [asked])[0], truth) < 1e-4
    assert distance(by_engine(model, [asked, *others], rows=8)[0], truth) < 1e-4
    assert distance(by_engine(model, [replace(asked, controls=())])[0], truth) > 1e-3


def by_pipeline(
    folder: Path, nets: dict[str, Path], name: str, kind: str, asked: Generation, monkeypatch: pytest.MonkeyPatch
) -> Tensor:
    """Stable Diffusion 3's pipeline draws what the hint is sampled with from no seed; here it takes the mean."""
    if name.startswith("sd3"):
        monkeypatch.setattr(DiagonalGaussianDistribution, "sample", DiagonalGaussianDistribution.mode)
    controlnets = [NETS[name][1].from_pretrained(nets[use.name]) for use in asked.controls]
    hints = [Image.fromarray(use.picture) for use in asked.controls]
    scales = [use.scale for use in asked.controls]
    single = len(hints) == 1
    if not single:
        wrapper = {"flux": "FluxMulti", "qwen": "QwenImageMulti", "sd3": "SD3Multi"}[name]
        controlnets = [getattr(diffusers, f"{wrapper}ControlNetModel")(controlnets[: 1 if name == "qwen" else 2])]
    told: dict[str, Any] = (
        {"true_cfg_scale": asked.guidance_scale} if name == "qwen" else {"guidance_scale": asked.guidance_scale}
    )
    if kind == "FluxControlNetPipeline":  # its siblings cannot
        told["true_cfg_scale"] = asked.true_cfg_scale
    if asked.init_image is None:
        told["negative_prompt"] = asked.negative_prompt
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline: Any = getattr(diffusers, kind).from_pretrained(folder, controlnet=controlnets[0])
        pipeline.set_progress_bar_config(disable=True)
        latents: Tensor = pipeline(
            prompt=asked.prompt,
            num_inference_steps=asked.steps,
            generator=torch.Generator().manual_seed(asked.seed),
            output_type="latent",
            control_image=hints[0] if single else hints,
            controlnet_conditioning_scale=scales[0] if single else scales,
            control_guidance_start=[use.start for use in asked.controls],
            control_guidance_end=[use.end for use in asked.controls],
            **(told | {"height": asked.height, "width": asked.width} | pictures_of(asked)),
        ).images
    return (
        latents[0] if latents.ndim == 4 else flow_checkpoints.unpacked(latents[0], asked.height // 8, asked.width // 8)
    )


@pytest.mark.parametrize("name", ["flux", "qwen", "sd3"])
def test_in_exact_mode_neighbours_change_no_byte(name: str, loaded: Any) -> None:
    _, _, model = loaded(name)
    rows = Rows(Graphs(), 4, exact=True)
    uses: list[tuple[Control, ...]] = [(), TWO, TWO[:1], TWO[1:]]
    company = [replace(ASKED, seed=seed, steps=3, controls=use) for seed, use in enumerate(uses)]
    assert changed_by_company(model, rows, company) == []


def test_a_hint_is_looked_at_once_for_all_pictures_of_a_request(loaded: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, model = loaded("flux")
    looks: list[Tensor] = []
    look = model.encode_image

    def counted(pixels: Tensor, *by: Any) -> Any:
        looks.append(pixels)
        return look(pixels, *by)

    monkeypatch.setattr(model, "encode_image", counted)
    plan = make_plan(replace(ASKED, controls=TWO[:1]), model, Samplers())
    begun: Any = Encoder(Pace(), exact=True).begin([Start(plan, seed, 0) for seed in (1, 2)])
    assert len(looks) == 1
    first, second = (canvas.cues[0].hint for canvas in begun)
    assert distance(first, second) > 1e-3  # each sampled with noise of its own


def test_what_is_not_run_is_refused_by_name(loaded: Any, tmp_path: Path) -> None:
    folder, nets, _ = loaded("flux")
    change = {"num_layers": 1, "num_single_layers": 0, "num_mode": 2}
    union = write_net(tmp_path / "union", folder, diffusers.FluxControlNetModel, 3, change)
    model = Model.load(folder, controlnets={"union": union, "lines": nets["lines"], "qwen": loaded("qwen")[1]["lines"]})
    painted = Control("lines", LINES, "inpaint")
    refusals = {"union": Control("union", LINES), "class": Control("qwen", LINES), "inpaint is not": painted}
    for rule, use in refusals.items():
        asked = replace(ASKED, controls=(use,), mask_image=half_mask(96, 64), **START)
        with pytest.raises(Invalid, match=rule):
            by_engine(model, [asked])
