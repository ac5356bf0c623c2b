"""The compiled networks against torch on the same weights, and what is kept of them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline
from torch.testing import assert_close

from safelight.engine import openvino
from safelight.engine.families.family import Row
from safelight.engine.generation import LoraUse
from safelight.engine.model import Model

from . import checkpoints, flow_checkpoints

SIZES = [(1, 8, 8), (3, 8, 8), (8, 16, 8), (2, 13, 9), (5, 5, 7)]  # rows, and sides that halve evenly or do not
CLOSE: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-5}
TRANSFORMERS: dict[str, Callable[[Path], Path]] = {
    "flux": flow_checkpoints.write_flux,
    "pixart": flow_checkpoints.write_pixart,
}


@pytest.fixture(scope="module")
def plain(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """By torch."""
    if request.param in TRANSFORMERS:
        return Model.load(TRANSFORMERS[request.param](tmp_path_factory.mktemp(request.param)))
    folder: Path = request.getfixturevalue(request.param)
    return Model.load(folder)


def rows_of(model: Model, count: int, height: int = 8, width: int = 8) -> list[Row]:
    """In the least that the family can draw."""
    dice = torch.Generator().manual_seed(count)
    family, least = model.family, model.family.multiple // model.family.autoencoder.side
    sides = least * height, least * width
    x = torch.randn(count, family.autoencoder.channels, *sides, generator=dice)
    extra = torch.randn(family.extra_channels, *sides, generator=dice) if family.extra_channels else None
    times, texts = torch.rand(count, generator=dice) * 999, model.encode_text(["a cat", "a red dog"] * count)[:count]
    return [Row(*row, extra, guidance=3.0) for row in zip(x, times.tolist(), texts, strict=True)]


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("sd2", "sdxl")]  # traced like the others, for longer


@pytest.mark.parametrize("plain", ["sd1_inpaint", *SLOW, *TRANSFORMERS], indirect=True)
def test_rows_of_every_architecture_count_and_size(plain: Model) -> None:
    """But for those of the next test."""
    assert plain.family.compiles
    library, inputs = openvino._openvino(), openvino._example(plain.family)
    traced = openvino._convert(library, openvino._Denoise(plain.family, list(inputs)), list(inputs.values()))
    compiled = openvino.Network(library.Core().compile_model(traced, "CPU", {"INFERENCE_PRECISION_HINT": "f32"}))
    for count, height, width in SIZES:
        rows = rows_of(plain, count, height, width)
        answer = compiled(*plain.family.gather(rows).values())
        assert_close(plain.family.split(answer, rows), plain.denoise(rows), **CLOSE)


def test_rows_and_pictures_in_and_out(sd1: Path, traced: Path, tmp_path: Path) -> None:
    for folder in (sd1, flow_checkpoints.write_sd3(tmp_path / "sd3")):
        plain, compiled = Model.load(folder), Model.load(folder, openvino=True, kept=traced)
        assert plain.family.compiles
        for count, height, width in SIZES:
            pixels = torch.rand(count, 3, 8 * height, 8 * width, generator=torch.Generator().manual_seed(3)) * 2 - 1
            wanted, got = plain.encode_image(pixels), compiled.encode_image(pixels)
            assert_close((got.mean, got.std), (wanted.mean, wanted.std), **CLOSE)
            assert_close(compiled.decode(wanted.mean), plain.decode(wanted.mean), rtol=1e-3, atol=1e-4)
            rows = rows_of(plain, count, height, width)
            assert_close(compiled.denoise(rows), plain.denoise(rows), **CLOSE)


def test_half_precision(sd1: Path, traced: Path) -> None:
    plain, half = Model.load(sd1), Model.load(sd1, openvino=True, kept=traced, dtype=torch.bfloat16)
    rows = rows_of(plain, 3)
    drawn = half.denoise(rows)
    assert drawn[0].dtype == torch.float32
    assert_close(drawn, plain.denoise(rows), rtol=0.1, atol=0.1)


def test_a_lora_is_left_to_torch(sd1: Path, tmp_path: Path, traced: Path) -> None:
    pairs = checkpoints.lora_pairs(Model.load(sd1)._parts["unet"], r"to_[qv]$", 4, 1)
    lora = {"style": checkpoints.write_kohya_lora(tmp_path / "style.safetensors", {"lora_unet": pairs})}
    plain, compiled = Model.load(sd1, loras=lora), Model.load(sd1, loras=lora, openvino=True, kept=traced)
    rows, use = rows_of(plain, 2), [LoraUse("style", 0.8)]
    assert all(map(torch.equal, compiled.denoise(rows, use), plain.denoise(rows, use)))
    assert not torch.allclose(compiled.denoise(rows)[0], compiled.denoise(rows, use)[0], atol=1e-3)


def test_its_weights_count(sd1: Path, traced: Path) -> None:
    plain, compiled = Model.load(sd1), Model.load(sd1, openvino=True, kept=traced)
    assert plain.bytes < compiled.bytes < 2 * plain.bytes
    assert plain.runtime.startswith("torch ")
    assert compiled.runtime.startswith("openvino ")


def test_what_was_traced_is_kept(sd1: Path, traced: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Model.load(sd1, openvino=True, kept=traced)
    monkeypatch.setattr(openvino, "_trace", lambda *_: pytest.fail("traced again"))
    second = Model.load(sd1, openvino=True, kept=traced)
    rows = rows_of(first, 3)
    assert all(map(torch.equal, first.denoise(rows), second.denoise(rows)))


def test_another_checkpoint_under_the_same_name_is_traced_anew(sd1: Path, traced: Path, tmp_path: Path) -> None:
    """Even one in half precision."""
    Model.load(sd1, openvino=True, kept=traced)
    shutil.copytree(traced / "sd1", tmp_path / "kept" / "it")
    kind: Any = StableDiffusionPipeline
    full = kind.from_pretrained(checkpoints.write_sd1(tmp_path / "full", seed=1), local_files_only=True)
    folder = tmp_path / "it"
    full.to(torch.float16).save_pretrained(folder)
    plain, compiled = Model.load(folder), Model.load(folder, openvino=True, kept=tmp_path / "kept")
    rows = rows_of(plain, 3)
    assert_close(compiled.denoise(rows), plain.denoise(rows), **CLOSE)
    assert len(list((tmp_path / "kept" / "it").iterdir())) == 1


@pytest.mark.parametrize("harm", ["cut", "gone"])
def test_files_that_cannot_be_read_go(sd1: Path, tmp_path: Path, traced: Path, harm: str) -> None:
    Model.load(sd1, openvino=True, kept=traced)
    shutil.copytree(traced / "sd1", tmp_path / "it")
    (weights,) = tmp_path.rglob("denoiser.bin")
    core, folder = openvino._openvino().Core(), weights.parent
    assert openvino._read(core, folder)
    if harm == "cut":
        weights.write_bytes(weights.read_bytes()[:1000])
    else:
        (folder / "decode.xml").unlink()
    assert openvino._read(core, folder) is None
    assert not folder.exists()


def test_a_full_disk_only_costs_the_next_load_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object, **__: object) -> None:
        raise RuntimeError("no space left on device")

    library = openvino._openvino()
    monkeypatch.setattr(library, "save_model", full)
    openvino._keep(library, dict.fromkeys(openvino.NETWORKS), tmp_path / "a" / "b")
    assert "cannot be kept" in caplog.text
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


LISTENING = """
import sys
heard = []
sys.addaudithook(lambda event, _: heard.append(event))
from pathlib import Path
from safelight.engine.model import Model
Model.load(Path(sys.argv[1]), openvino=True)
print([event for event in heard if event in ("socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.fork")])
"""


def test_openvino_tells_nobody_that_it_is_used(sd1: Path) -> None:
    """Left to itself it reports its import and every conversion over the network."""
    quiet = subprocess.run(
        [sys.executable, "-c", LISTENING, str(sd1)],
        check=True, capture_output=True, text=True, env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    assert quiet.stdout.splitlines()[-1] == "[]"
