"""The whole recipe at the smallest size: every stage runs, resumes, and ends in a folder that diffusers loads
unchanged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionImg2ImgPipeline
from PIL import Image

from training import train

DATA = Path(train.__file__).parent / "data"


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("work")
    out = work / "export"
    threads = torch.get_num_threads()
    for stage in train.STAGES:
        minutes = {"autoencoder": 0.1, "text": 0.08, "unet": 0.1}.get(stage, 0.0)
        train.main(
            [
                "--size",
                "tiny",
                "--stage",
                stage,
                "--minutes",
                str(minutes),
                "--work",
                str(work),
                "--out",
                str(out),
                "--pictures",
                "64",
                "--data",
                str(DATA),
            ]
        )
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


def test_a_stage_whose_time_is_spent_is_not_trained_again(exported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    work = exported.parent
    before = torch.load(work / "unet.pt", weights_only=True)["step"]
    train.main(["--size", "tiny", "--stage", "unet", "--minutes", "0.1", "--work", str(work), "--data", str(DATA)])
    assert torch.load(work / "unet.pt", weights_only=True)["step"] == before
