"""Weights in 8 and 4 bits: how far pictures move, that they do not depend on company, and that LoRAs still act."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from safelight.engine.checkpoint import count_weights
from safelight.engine.families.autoencoder import Place
from safelight.engine.generation import Generation, LoraUse
from safelight.engine.graphs import Graphs
from safelight.engine.memory import EncoderPlace
from safelight.engine.model import CPU, Model
from safelight.engine.quantised import Bits, Int8, Nf4, normal_levels, settle_small
from safelight.engine.rows import Rows
from safelight.engine.shelf import Shelf

from . import checkpoints, flow_checkpoints
from .gallery import alone, changed_by_company

FAMILIES: dict[str, Callable[[Path], Path]] = {
    "sd1": checkpoints.write_sd1,
    "sdxl": checkpoints.write_sdxl,
    "sd3": flow_checkpoints.write_sd3,
    "flux": flow_checkpoints.write_flux,
    "qwen": flow_checkpoints.write_qwen,
    "z-image": flow_checkpoints.write_z_image,
    "pixart": flow_checkpoints.write_pixart,
}
QUICK = ("sd1", "z-image")
SMALL = (Bits.int8, Bits.nf4)
MOVES = {Bits.int8: (3, 0.3), Bits.nf4: (8, 1.2)}  # levels of 255 at most, and in the mean
MOVES_Z_IMAGE = MOVES | {Bits.nf4: (60, 5.0)}
# Rows 15 to 30 of the table of Dettmers et al. (2023), appendix E.
PUBLISHED = [
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
]  # fmt: skip


def request(number: int = 0) -> Generation:
    return Generation(
        f"a cat {number}",
        negative_prompt="red",
        width=64,
        height=64,
        steps=2 + number,
        seed=7 + number,
        guidance_scale=4,
    )


def rows(exact: bool = False) -> Rows:
    return Rows(Graphs(), 4, exact=exact)


@pytest.mark.parametrize(
    "family", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in FAMILIES]
)
def test_a_picture_moves_no_further_than_the_docs_say(family: str, tmp_path: Path) -> None:
    folder = FAMILIES[family](tmp_path / "it")
    whole = alone(request(), Model.load(folder), rows())[0].astype(int)
    for bits, (most, mean) in (MOVES_Z_IMAGE if family == "z-image" else MOVES).items():
        apart = np.abs(alone(request(), Model.load(folder, weights=bits), rows())[0] - whole)
        assert 0 < apart.max() <= most
        assert apart.mean() <= mean


@pytest.mark.parametrize(
    ("family", "bits"), [("flux", Bits.nf4), pytest.param("sd1", Bits.int8, marks=pytest.mark.slow)]
)
def test_a_picture_does_not_depend_on_its_company(family: str, bits: Bits, tmp_path: Path) -> None:
    model = Model.load(FAMILIES[family](tmp_path / "it"), weights=bits)
    assert changed_by_company(model, rows(exact=True), [request(number) for number in range(3)], one_by_one=True) == []


@pytest.mark.parametrize("bits", [Bits.nf4, pytest.param(Bits.int8, marks=pytest.mark.slow)])
def test_a_lora_acts_on_it_as_on_whole_weights(bits: Bits, sd1: Path, tmp_path: Path) -> None:
    file = tmp_path / "one.safetensors"
    whole, small = (Model.load(sd1, weights=each, loras={"one": file}) for each in (Bits.native, bits))
    pairs = checkpoints.lora_pairs(whole.family.networks["unet"], r"to_[qkv]$", 2, 0)
    checkpoints.write_kohya_lora(file, {"lora_unet": pairs})
    plain = Generation("a cat", width=64, height=64, steps=2)
    strong = replace(plain, loras=(LoraUse("one", 8.0),))
    drawn = [
        alone(each, model, rows())[0].astype(int) for each, model in ((plain, whole), (strong, whole), (strong, small))
    ]
    assert np.abs(drawn[2] - drawn[1]).mean() < np.abs(drawn[0] - drawn[1]).mean() / 2


@pytest.mark.parametrize("bits", SMALL)
def test_the_budget_knows_what_it_takes(bits: Bits, sd1: Path) -> None:
    counted = count_weights(sd1)
    told = counted.footprint(4, EncoderPlace.device, bits).denoiser
    model = Shelf({"a": sd1}, "a", weights=bits).wait("a")
    assert told == pytest.approx(model.footprint.denoiser, rel=0.1)
    assert told < 0.95 * counted.footprint(4, EncoderPlace.device, Bits.native).denoiser
    assert str(bits) in model.runtime


def test_each_weight_is_the_nearest_that_there_is() -> None:
    linear = nn.Linear(64, 32)
    weight = linear.weight.detach()
    eight, four = Int8(linear, CPU), Nf4(linear, CPU)
    spread = weight.abs().amax(1, keepdim=True)
    x = torch.eye(64)
    for small, step in ((eight, spread / 254), (four, spread * 0.1520)):
        made = (small(x) - linear.bias).T
        assert ((made - weight).abs() <= step * 1.01 + 1e-6).all()
    assert torch.allclose(normal_levels(), torch.tensor(PUBLISHED, dtype=torch.float64), atol=1e-6)


def test_what_is_no_repeated_block_stays_whole() -> None:
    network = nn.ModuleDict(
        {"enter": nn.Linear(64, 64), "blocks": nn.ModuleList([nn.ModuleDict({"to_q": nn.Linear(64, 64)})])}
    )
    settle_small(network, Place(CPU, torch.bfloat16), Bits.int8)
    assert network["enter"].weight.dtype == torch.bfloat16
    assert network.get_submodule("blocks.0.to_q").weight.dtype == torch.int8
