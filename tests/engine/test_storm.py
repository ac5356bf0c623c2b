"""Two hundred requests over four families at once, with cancels and failures: every one ends, each as if it were alone.

Every sampler, task and size, LoRAs and ControlNets are among them. ``-s`` prints how many rows shared the calls.
"""

from __future__ import annotations

import gc
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import psutil
import pytest
from torch import Tensor

from safelight.engine.engine import Engine
from safelight.engine.families.family import Row
from safelight.engine.generation import Control, Generation, LoraUse, Pixels
from safelight.engine.model import Model
from safelight.engine.samplers import SAMPLERS
from safelight.engine.shelf import Shelf
from safelight.engine.ticket import Ticket
from safelight.errors import Cancelled, EngineFailed, Invalid

from . import checkpoints, flow_checkpoints
from .oracle import half_mask, picture
from .test_transformer_controlnet import write_net

REQUESTS = 200
MODELS: dict[str, Callable[[Path], Path]] = {
    "sd1": checkpoints.write_sd1,
    "flux": flow_checkpoints.write_flux,
    "qwen": flow_checkpoints.write_qwen,
    "z-image": flow_checkpoints.write_z_image,
}
FLOW_SAMPLERS = [None, "EulerDiscrete", "EulerAncestralDiscrete"]
SIZES = [(64, 64), (96, 64), (64, 96)]
STEERED = ("sd1", "flux", "qwen")  # that have a ControlNet here
STYLED = ("sd1", "flux")  # that have a LoRA here
KNOWN = 64  # different requests, each of which is also made alone
POISON = 4.25  # a guidance at which the model's call fails


def any_generation(dice: random.Random, i: int) -> Generation:
    """The i-th takes the i-th sampler of its model, so that none is left out."""
    model = list(MODELS)[i % len(MODELS)]
    samplers = list(SAMPLERS) if model == "sd1" else FLOW_SAMPLERS
    width, height = dice.choice(SIZES)
    style = dice.random() < 0.25 and model in STYLED
    lines = dice.random() < 0.3 and model in STEERED
    sampler = samplers[i // len(MODELS) % len(samplers)]
    start: dict[str, Any] = {}
    if dice.random() < 0.5 and sampler != "DDIMInverse":  # which has no noise of its own to start from a picture with
        start = {"init_image": picture(width, height, dice.randrange(3)), "strength": dice.choice([0.5, 0.75, 1.0])}
        if dice.random() < 0.4:
            start["mask_image"] = half_mask(width, height)
    return Generation(
        prompt=dice.choice(["a cat", "a dog, of a kind that nobody has seen before", "red"]),
        negative_prompt=dice.choice(["", "ugly"]),
        width=width,
        height=height,
        steps=dice.choice([2, 3, 4]),
        guidance_scale=dice.choice([1.0, 4.0]),
        true_cfg_scale=dice.choice([1.0, 2.0]),
        seed=dice.randrange(4),
        sampler=sampler,
        model=model,
        owner=dice.choice(["ann", "bob", "eve"]),
        priority=dice.choice([0, 0, 1]),
        loras=(LoraUse(f"{model} style", 0.5),) if style else (),
        controls=(Control(f"{model} lines", picture(width, height, 9), "canny", 0.8, end=0.7),) if lines else (),
        **start,
    )


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    paths = {name: write(tmp_path / name) for name, write in MODELS.items()}
    pairs = checkpoints.lora_pairs(checkpoints.unet(0), r"to_[qv]$", 4, 1)
    style = checkpoints.write_kohya_lora(tmp_path / "style.safetensors", {"lora_unet": pairs})
    flux: Any = diffusers.FluxTransformer2DModel.from_pretrained(paths["flux"], subfolder="transformer")
    pairs = checkpoints.lora_pairs(flux, r"to_[qv]$", 4, 1)
    flux_style = checkpoints.write_diffusers_lora(tmp_path / "flux.safetensors", {"transformer": pairs})
    made = Shelf(
        paths,
        "sd1",
        loras={"sd1 style": style, "flux style": flux_style},
        controlnets={
            "sd1 lines": checkpoints.write_controlnet(tmp_path / "sd1-lines", paths["sd1"], 5),
            "flux lines": write_net(tmp_path / "flux-lines", paths["flux"], diffusers.FluxControlNetModel, 5, {}),
            "qwen lines": write_net(tmp_path / "qwen-lines", paths["qwen"], diffusers.QwenImageControlNetModel, 5, {}),
        },
    )
    for name in paths:
        made.wait(name)
    yield made
    made.close()


@pytest.mark.slow
def test_a_storm_over_four_families(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    dice = random.Random(20261125)
    known = [any_generation(dice, i) for i in range(KNOWN)]
    calls: Counter[tuple[str, int, int]] = Counter()  # checkpoint, rows, sizes of pictures among them
    denoise = Model.denoise

    def counted(self: Model, rows: Sequence[Row], adapters: Sequence[LoraUse] = ()) -> list[Tensor]:
        if any(row.guidance == POISON for row in rows):
            raise RuntimeError("the model's call fails")
        calls[self.name, len(rows), len({row.x.shape for row in rows})] += 1
        return denoise(self, rows, adapters)

    with Engine(shelf, exact=True, max_rows=6) as engine:
        solo = {generation: engine.submit(generation).result(120).pictures[0].pixels for generation in known}
        monkeypatch.setattr(Model, "denoise", counted)
        storm(engine, known, solo, dice)
        before = resident()
        storm(engine, known, solo, dice)
        assert resident() < 1.05 * before
    print(table(calls))
    shared = sum(count for (_, rows, _), count in calls.items() if rows > 2)
    assert shared > sum(calls.values()) / 2, calls
    assert any(sizes > 1 for name, _, sizes in calls if name == "z-image"), calls
    assert all(sizes == 1 for name, _, sizes in calls if name != "z-image")


def storm(engine: Engine, known: list[Generation], solo: dict[Generation, Pixels], dice: random.Random) -> None:
    tickets: list[tuple[Ticket, Generation | None]] = []
    for _ in range(REQUESTS):
        if dice.random() < 0.1:
            broken = {"model": "flux", "sampler": "PNDM"} if dice.random() < 0.5 else {"guidance_scale": POISON}
            usual: dict[str, Any] = {"prompt": "a cat", "width": 64, "height": 64, "steps": 3}
            tickets.append((engine.submit(Generation(**(usual | broken))), None))
        ticket = engine.submit(generation := dice.choice(known))
        tickets.append((ticket, generation))
        if dice.random() < 0.15:
            ticket.cancel()
    ends = Counter(end(ticket, generation, solo) for ticket, generation in tickets)
    assert ends["made"] > REQUESTS / 2
    assert ends["cancelled"] > 0
    assert ends["refused"] > 0
    assert ends["failed"] > 0


def resident() -> int:
    gc.collect()
    held: int = psutil.Process().memory_info().rss
    return held


def table(calls: Counter[tuple[str, int, int]]) -> str:
    """How many calls of each checkpoint had so many rows, and so many sizes among them."""
    lines = ["| family | " + " | ".join(f"{rows} rows" for rows in range(1, 7)) + " | most sizes in one call |"]
    for model in MODELS:
        counts = [sum(n for (name, rows, _), n in calls.items() if (name, rows) == (model, k)) for k in range(1, 7)]
        sizes = max(sizes for name, _, sizes in calls if name == model)
        lines.append(f"| {model} | " + " | ".join(map(str, counts)) + f" | {sizes} |")
    return "\n".join(lines)


def end(ticket: Ticket, generation: Generation | None, solo: dict[Generation, Pixels]) -> str:
    try:
        pixels = ticket.result(300).pictures[0].pixels
    except (Cancelled, CancelledError):
        return "cancelled"
    except (Invalid, EngineFailed) as error:
        assert generation is None
        return "refused" if isinstance(error, Invalid) else "failed"
    assert generation is not None
    assert np.array_equal(pixels, solo[generation])
    return "made"
