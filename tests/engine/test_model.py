"""The model against diffusers' own pipelines on the same folder, for every architecture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionInpaintPipeline, StableDiffusionPipeline, StableDiffusionXLPipeline
from torch import Tensor
from torch.testing import assert_close

from safelight.engine.model import Model

from .oracle import denoise

PROMPTS = ["a cat", "a red dog, of a kind", ""]
X = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(1))
TIMES = torch.tensor([3.0, 500.0, 981.0])
ARCHITECTURES = {
    "sd1": StableDiffusionPipeline,
    "sd1_inpaint": StableDiffusionInpaintPipeline,
    "sd2": StableDiffusionPipeline,
    "sdxl": StableDiffusionXLPipeline,
}


@pytest.fixture(params=list(ARCHITECTURES))
def pair(request: pytest.FixtureRequest) -> tuple[Model, Any]:
    folder: Path = request.getfixturevalue(request.param)
    return Model.load(folder), ARCHITECTURES[request.param].from_pretrained(folder, local_files_only=True)


def encode(pipeline: Any, clip_skip: int | None = None) -> Any:
    with torch.no_grad():
        return pipeline.encode_prompt(
            PROMPTS, device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=False, clip_skip=clip_skip
        )


def test_prompts_are_read_alike(pair: tuple[Model, Any]) -> None:
    model, pipeline = pair
    conditioning, encoded = model.encode_text(PROMPTS), encode(pipeline)
    assert_close(torch.stack([c.embedding for c in conditioning]), encoded[0])
    pooled = [c.pooled for c in conditioning if c.pooled is not None]
    if pooled:
        assert_close(torch.stack(pooled), encoded[2])
    assert bool(pooled) == isinstance(pipeline, StableDiffusionXLPipeline)


def test_clip_skip_is_diffusers_plus_one(sdxl: Path) -> None:
    pipeline = StableDiffusionXLPipeline.from_pretrained(sdxl, local_files_only=True)
    conditioning = Model.load(sdxl).encode_text(PROMPTS, clip_skip=2)
    assert_close(torch.stack([c.embedding for c in conditioning]), encode(pipeline, clip_skip=1)[0])


def test_clip_skip_with_one_encoder_takes_the_layer_before_and_norms_it(sd1: Path) -> None:
    pipeline = StableDiffusionPipeline.from_pretrained(sd1, local_files_only=True)
    ids = pipeline.tokenizer(PROMPTS, padding="max_length", max_length=77, return_tensors="pt").input_ids
    with torch.no_grad():
        hidden = pipeline.text_encoder(ids, output_hidden_states=True).hidden_states[-2]
        wanted = pipeline.text_encoder.get_submodule("final_layer_norm")(hidden)
    conditioning = Model.load(sd1).encode_text(PROMPTS, clip_skip=2)
    assert_close(torch.stack([c.embedding for c in conditioning]), wanted)


def test_rows_are_denoised_alike(pair: tuple[Model, Any]) -> None:
    model, pipeline = pair
    x = torch.cat([X, X, X[:, :1]], dim=1)[:, : 4 + model.family.extra_channels]
    encoded, added = encode(pipeline), None
    if isinstance(pipeline, StableDiffusionXLPipeline):
        added = {"text_embeds": encoded[2], "time_ids": torch.tensor([[64.0, 64, 0, 0, 64, 64]] * 3)}
    with torch.no_grad():
        wanted = pipeline.unet(x, TIMES, encoded[0], added_cond_kwargs=added).sample
    assert_close(denoise(model, x, TIMES, model.encode_text(PROMPTS)), wanted)


def test_mixed_rows_equal_single_rows(pair: tuple[Model, Any]) -> None:
    model, _ = pair
    x = torch.cat([X, X, X[:, :1]], dim=1)[:, : 4 + model.family.extra_channels]
    conditioning = model.encode_text(PROMPTS)
    together = denoise(model, x, TIMES, conditioning)
    for i in range(3):
        alone = denoise(model, x[i : i + 1], TIMES[i : i + 1], conditioning[i : i + 1])
        assert_close(alone[0], together[i], rtol=1e-4, atol=1e-5)


def test_an_inpainting_models_further_channels_may_come_apart(sd1_inpaint: Path) -> None:
    model = Model.load(sd1_inpaint)
    conditioning, extra = model.encode_text(PROMPTS), torch.cat([X, X[:, :1]], dim=1)
    apart = denoise(model, X, TIMES, conditioning, extra)
    assert torch.equal(apart, denoise(model, torch.cat([X, extra], dim=1), TIMES, conditioning))
    assert model.family.extra_channels == 5


def test_pictures_go_in_and_out_alike(pair: tuple[Model, Any]) -> None:
    model, pipeline = pair
    pixels = torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(2)) * 2 - 1
    with torch.no_grad():
        posterior = pipeline.vae.encode(pixels).latent_dist
        scaled: Tensor = posterior.mean * pipeline.vae.config.scaling_factor
        wanted = pipeline.vae.decode(scaled / pipeline.vae.config.scaling_factor).sample
    moments = model.encode_image(pixels)
    assert_close((moments.mean, moments.std), (posterior.mean, posterior.std))
    assert moments.mean.shape == (2, 4, 4, 6)
    assert_close(model.decode(scaled), wanted, rtol=1e-4, atol=1e-4)


def test_each_scheduler_is_fresh_and_the_checkpoints_own(pair: tuple[Model, Any]) -> None:
    model, pipeline = pair
    first, second = model.scheduler(), model.scheduler()
    assert first is not second
    assert type(first) is type(pipeline.scheduler)
    assert dict(first.config) == dict(pipeline.scheduler.config)


def test_half_precision_in_and_float_out(sd1: Path) -> None:
    model = Model.load(sd1, dtype=torch.bfloat16)
    drawn = denoise(model, X, TIMES, model.encode_text(PROMPTS))
    assert drawn.dtype == torch.float32
    whole = Model.load(sd1)
    assert_close(drawn, denoise(whole, X, TIMES, whole.encode_text(PROMPTS)), rtol=0.1, atol=0.1)


def test_channels_last_draws_the_same(sd1: Path) -> None:
    usual, turned = Model.load(sd1), Model.load(sd1, channels_last=True)
    conditioning = usual.encode_text(PROMPTS)
    assert_close(denoise(turned, X, TIMES, conditioning), denoise(usual, X, TIMES, conditioning), rtol=1e-4, atol=1e-5)


def test_the_note_beside_the_checkpoint_names_its_native_size(tmp_path: Path) -> None:
    from . import checkpoints

    assert Model.load(checkpoints.write_sd1(tmp_path, native_size=64)).native_size == 64
