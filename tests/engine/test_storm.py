"""Two hundred requests over four families at once, with cancels and failures: every one ends, each as if it were alone."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from safelight.engine.engine import Engine
from safelight.engine.families.family import Row
from safelight.engine.generation import Generation, LoraUse, Pixels
from safelight.engine.model import Model
from safelight.engine.shelf import Shelf
from safelight.engine.ticket import Ticket
from safelight.errors import Cancelled, Invalid

from . import checkpoints, flow_checkpoints
from .oracle import half_mask, picture

REQUESTS = 200
MODELS: dict[str, Callable[[Path], Path]] = {
    "sd1": checkpoints.write_sd1,
    "flux": flow_checkpoints.write_flux,
    "qwen": flow_checkpoints.write_qwen,
    "z-image": flow_checkpoints.write_z_image,
}
UNET_SAMPLERS = ["DDIM", "PNDM", "EulerAncestralDiscrete", "DPMSolverMultistep", "HeunDiscrete", "UniPCMultistep"]
FLOW_SAMPLERS = [None, "EulerDiscrete", "EulerAncestralDiscrete"]
SIZES = [(64, 64), (96, 64), (64, 96)]


def any_generation(dice: random.Random) -> Generation:
    model = dice.choice(list(MODELS))
    width, height = dice.choice(SIZES)
    start: dict[str, Any] = {}
    if dice.random() < 0.5:
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
        sampler=dice.choice(UNET_SAMPLERS if model == "sd1" else FLOW_SAMPLERS),
        model=model,
        owner=dice.choice(["ann", "bob", "eve"]),
        priority=dice.choice([0, 0, 1]),
        loras=(LoraUse("style", 0.5),) if model == "sd1" and dice.random() < 0.2 else (),
        **start,
    )


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    paths = {name: write(tmp_path / name) for name, write in MODELS.items()}
    pairs = checkpoints.lora_pairs(checkpoints.unet(0), r"to_[qv]$", 4, 1)
    lora = checkpoints.write_kohya_lora(tmp_path / "style.safetensors", {"lora_unet": pairs})
    made = Shelf(paths, "sd1", loras={"style": lora})
    for name in paths:
        made.wait(name)
    yield made
    made.close()


@pytest.mark.slow
def test_a_storm_over_four_families(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    dice = random.Random(20261125)
    known = [any_generation(dice) for _ in range(40)]
    calls: Counter[tuple[str, int, int]] = Counter()  # checkpoint, rows, sizes of pictures among them
    denoise = Model.denoise

    def counted(self: Model, rows: Sequence[Row], adapters: Sequence[LoraUse] = ()) -> list[Tensor]:
        calls[self.name, len(rows), len({row.x.shape for row in rows})] += 1
        return denoise(self, rows, adapters)

    with Engine(shelf, exact=True, max_rows=6) as engine:
        solo = {generation: engine.submit(generation).result(120).pictures[0].pixels for generation in known}
        monkeypatch.setattr(Model, "denoise", counted)
        storm(engine, known, solo, dice)
    shared = sum(count for (_, rows, _), count in calls.items() if rows > 2)
    assert shared > sum(calls.values()) / 2, calls
    assert any(sizes > 1 for name, _, sizes in calls if name == "z-image"), calls
    assert all(sizes == 1 for name, _, sizes in calls if name != "z-image")


def storm(engine: Engine, known: list[Generation], solo: dict[Generation, Pixels], dice: random.Random) -> None:
    tickets: list[tuple[Ticket, Generation | None]] = []
    for _ in range(REQUESTS):
        if dice.random() < 0.05:
            broken = Generation("a cat", width=64, height=64, model="flux", sampler="PNDM")
            tickets.append((engine.submit(broken), None))
        ticket = engine.submit(generation := dice.choice(known))
        tickets.append((ticket, generation))
        if dice.random() < 0.15:
            ticket.cancel()
    ends = Counter(end(ticket, generation, solo) for ticket, generation in tickets)
    assert ends["made"] > REQUESTS / 2
    assert ends["cancelled"] > 0
    assert ends["refused"] > 0


def end(ticket: Ticket, generation: Generation | None, solo: dict[Generation, Pixels]) -> str:
    try:
        pixels = ticket.result(300).pictures[0].pixels
    except (Cancelled, CancelledError):
        return "cancelled"
    except Invalid:
        assert generation is None
        return "refused"
    assert generation is not None
    assert np.array_equal(pixels, solo[generation])
    return "made"
