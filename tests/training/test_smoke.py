"""The whole recipe at the smallest size: every stage runs, resumes, and ends in a folder that diffusers loads
unchanged."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionImg2ImgPipeline
from PIL import Image
from safetensors.torch import load_file

from training import checkpoint, networks, start, train
from training.sizes import TINY

DATA = Path(train.__file__).parent / "data"
MINUTES = "0.02"  # of each stage: a few steps


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("work")
    out = work / "export"
    threads = torch.get_num_threads()
    sized = ["--size", "tiny", "--minutes", MINUTES, "--pictures", "64"]
    for stage in train.STAGES:
        train.main([*sized, "--stage", stage, "--work", str(work), "--out", str(out), "--data", str(DATA)])
    torch.set_num_threads(threads)
    return out


def test_export_loads_and_paints(exported: Path) -> None:
    kind: Any = StableDiffusionImg2ImgPipeline
    pipeline = kind.from_pretrained(exported, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    made = pipeline("a cat", image=Image.new("RGB", (64, 64), "red"), strength=0.5, num_inference_steps=4).images[0]
    assert made.size == (64, 64)


def test_export_has_the_layout_of_stable_diffusion_1(exported: Path) -> None:
    from safetensors import safe_open

    assert {"model_index.json", "safelight.json", "unet", "vae", "text_encoder", "tokenizer", "scheduler"} <= {
        p.name for p in exported.iterdir()
    }
    assert {"vocab.json", "merges.txt"} <= {p.name for p in (exported / "tokenizer").iterdir()}
    with safe_open(exported / "text_encoder" / "model.safetensors", framework="pt") as weights:
        keys = list(weights.keys())
    assert all(key.startswith("text_model.") for key in keys)
    assert json.loads((exported / "safelight.json").read_text())["native_size"] == 64


def test_a_run_goes_on_from_a_checkpoint_and_may_leave_its_codes_alone(exported: Path, tmp_path: Path) -> None:
    photographs, work, out = tmp_path / "photographs", tmp_path / "work", tmp_path / "export"
    photographs.mkdir()
    Image.effect_noise((96, 80), 60).convert("RGB").save(photographs / "noise.png")
    common = ["--size", "tiny", "--start", str(exported), "--work", str(work), "--out", str(out), "--data", str(DATA)]
    threads = torch.get_num_threads()
    for words in (
        ["--stage", "autoencoder", "--minutes", MINUTES, "--photographs", str(photographs), "--decoder-alone"],
        ["--stage", "text"],
        ["--stage", "export"],
    ):
        train.main([*common, *words])
    torch.set_num_threads(threads)
    before, after = (load_file(folder / "vae/diffusion_pytorch_model.safetensors") for folder in (exported, out))
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"decoder", "post_quant_conv"}
    for kept in ("vae/config.json", "unet/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors"):
        assert (exported / kept).read_bytes() == (out / kept).read_bytes()


def test_an_image_model_may_be_exported_between_its_start_and_what_it_became(tmp_path: Path) -> None:
    before = networks.unet(TINY)
    before.save_pretrained(tmp_path / "unet")
    after = networks.unet(TINY)
    expected = {name: (before.state_dict()[name] + after.state_dict()[name]) / 2 for name in after.state_dict()}
    start.blend(after, tmp_path, 0.5)
    for name, weights in after.state_dict().items():
        torch.testing.assert_close(weights, expected[name])


def test_a_stage_ends_at_the_asked_time_of_day(tmp_path: Path) -> None:
    soon = (datetime.now().astimezone() + timedelta(minutes=30)).strftime("%H:%M")
    options = train.arguments(["--until", soon, "--work", str(tmp_path)])
    assert 20 < train.until(options, "unet") <= 30  # the minute has begun, and this may be a slow machine
    checkpoint.save(tmp_path / "unet.pt", used=600.0)
    assert 30 < train.until(options, "unet") <= 40


def test_a_stage_whose_time_is_spent_is_not_trained_again(exported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    work = exported.parent
    before = torch.load(work / "unet.pt", weights_only=True)["step"]
    train.main(["--size", "tiny", "--stage", "unet", "--minutes", MINUTES, "--work", str(work), "--data", str(DATA)])
    assert torch.load(work / "unet.pt", weights_only=True)["step"] == before
