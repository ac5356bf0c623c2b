"""Autoencoders in place of a checkpoint's own, against diffusers' pipeline with the same one, and what does not fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from safelight.engine.engine import Engine
from safelight.engine.generation import Generation, Pixels
from safelight.engine.model import Model
from safelight.engine.shelf import Shelf
from safelight.errors import Invalid

from . import checkpoints
from .oracle import by_engine, picture, pictures_of

ASKED = Generation("a red cat", "a dog", width=64, height=64, steps=2, seed=4, init_image=picture(), strength=0.9)


@pytest.fixture(scope="module")
def soft(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another autoencoder of the same make, as a folder."""
    folder = tmp_path_factory.mktemp("soft")
    checkpoints.vae(31).save_pretrained(folder)
    return folder


def in_original_layout(folder: Path, prefix: str, path: Path) -> Path:
    weights = load_file(folder / "diffusion_pytorch_model.safetensors")
    save_file({prefix + name: tensor for name, tensor in checkpoints.vae_tensors(weights).items()}, path)
    return path


def by_pipeline(sd1: Path, vae: Any, asked: Generation) -> Pixels:
    pipeline: Any = diffusers.StableDiffusionImg2ImgPipeline.from_pretrained(sd1, vae=vae, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    drawn: Pixels = pipeline(
        prompt=asked.prompt, negative_prompt=asked.negative_prompt, num_inference_steps=asked.steps,
        guidance_scale=asked.guidance_scale, generator=[torch.Generator().manual_seed(asked.seed)], output_type="np",
        **pictures_of(asked),
    ).images[0]  # fmt: skip
    return (drawn * 255).round().astype(np.uint8)


def test_a_picture_goes_through_it_both_ways_as_through_the_pipelines_among_those_of_others(
    sd1: Path, soft: Path
) -> None:
    shelf = Shelf({"sd1": sd1}, "sd1", vaes={"soft": soft})
    with Engine(shelf, max_rows=8) as engine:
        given = [ASKED, replace(ASKED, vae="soft"), replace(ASKED, vae="soft", seed=9)]
        plain, other, _ = (ticket.future.result(120).pictures[0].pixels for ticket in map(engine.submit, given))
    shelf.close()
    truth = by_pipeline(sd1, diffusers.AutoencoderKL.from_pretrained(soft), ASKED)
    assert np.abs(other.astype(int) - truth).max() <= 2
    assert np.abs(plain.astype(int) - truth).max() > 2


def test_every_layout_is_the_same_network_until_it_goes(sd1: Path, soft: Path, tmp_path: Path) -> None:
    paths = {"folder": soft, "file": soft / "diffusion_pytorch_model.safetensors"}
    for prefix in ("", "first_stage_model."):
        paths[f"original {prefix}"] = in_original_layout(soft, prefix, tmp_path / f"{prefix}it.safetensors")
    model = Model.load(sd1, vaes=paths)
    own, latents = model.footprint.autoencoder, torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    seen: list[Tensor] = []
    for name in list(paths):
        seen.append(model.decode(latents, model.autoencoders.get(name)))
        assert model.footprint.autoencoder > own
        del paths[name]
        model.forget(name)
        with pytest.raises(Invalid, match="vae is not an autoencoder on this server"):
            model.autoencoders.get(name)
    assert all(torch.equal(each, seen[0]) for each in seen)
    assert not torch.equal(seen[0], model.decode(latents))
    assert model.footprint.autoencoder == own


def test_what_does_not_fit_is_refused_by_name(sd1: Path, tmp_path: Path) -> None:
    kinds: dict[str, dict[str, Any]] = {
        "deep": {"latent_channels": 16},
        "wide": {"block_out_channels": (64, 32, 32, 32)},
    }
    for name, config in kinds.items():
        checkpoints.vae(1, **config).save_pretrained(tmp_path / name)
    save_file({"something": torch.zeros(1)}, tmp_path / "else.safetensors")
    model = Model.load(sd1, vaes={name: tmp_path / name for name in (*kinds, "else.safetensors")})
    said = {
        "deep": "its latents have 16 channels, the checkpoint's 4",
        "wide": "it is built otherwise than the checkpoint's own",
        "else.safetensors": "it is no autoencoder in a layout that this server knows",
    }
    for name, why in said.items():
        with pytest.raises(Invalid, match=f"vae cannot be used with this checkpoint: {why}"):
            by_engine(model, [replace(ASKED, vae=name)])
