"""The exactness contract: in exact mode a picture's bytes do not depend on its company, its position or the load."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from safelight.checkpoints import BUNDLED
from safelight.engine.generation import Generation, Spacing
from safelight.engine.graphs import Graphs
from safelight.engine.model import Model
from safelight.engine.plan import Plan
from safelight.engine.rows import Rows
from safelight.engine.ticket import Ticket
from safelight.errors import EngineFailed

from .gallery import ROWS, Gallery, alone
from .oracle import half_mask, picture
from .stand_ins import MOODS

CULPRITS = ("break encode", "break denoise", "break decode", "not a number")


def any_generation(dice: random.Random) -> Generation:
    """Mixed everything."""
    size = dice.choice([(64, 64), (64, 64), (64, 64), (96, 64)])
    start: dict[str, Any] = {}
    if dice.random() < 0.6:
        start = {"init_image": picture(seed=dice.randrange(3)), "strength": dice.choice([0.5, 0.75, 1.0])}
        if dice.random() < 0.4:
            start["mask_image"] = half_mask()
    return Generation(
        prompt=dice.choice(["a cat", "a dog", "a house"]),
        negative_prompt=dice.choice(["", "ugly"]),
        width=size[0],
        height=size[1],
        samples=dice.choice([1, 1, 1, 2]),
        steps=dice.choice([2, 3, 5, 8]),
        guidance_scale=dice.choice([1.0, 4.0, 7.5]),
        seed=dice.randrange(3),
        sampler=dice.choice(["DDIM", "PNDM", "EulerAncestralDiscrete", "DPMSolverMultistep", "HeunDiscrete", "LCM"]),
        spacing=Spacing.default,
        owner=dice.choice(["", "ann", "bob"]),
        priority=dice.choice([0, 0, 0, 1]),
        **start,
    )


def poisoned(dice: random.Random) -> Generation:
    what = dice.choice(CULPRITS)
    return Generation(prompt=what, width=64, height=64, steps=4, seed=dice.randrange(3), sampler="DDIM")


class Careless(Rows):
    """Answers without having tried anything."""

    def widths(self, plan: Plan) -> tuple[int, ...]:
        return tuple(range(1, ROWS + 1))


class Proved(Rows):
    """Remembers every answer."""

    def __init__(self) -> None:
        super().__init__(Graphs(), ROWS, exact=True)
        self.answers: set[tuple[int, ...]] = set()

    def widths(self, plan: Plan) -> tuple[int, ...]:
        self.answers.add(super().widths(plan))
        return super().widths(plan)


@pytest.mark.parametrize("companies", [60, pytest.param(200, marks=pytest.mark.slow)])
def test_random_companies_change_no_byte(companies: int) -> None:
    """Joins at any step, leaves, cancels, failures, every mixture: each picture is the one made alone."""
    dice = random.Random(20261121)
    known = [any_generation(dice) for _ in range(companies * 3 // 10)]
    rows = Proved()
    solo = {generation: alone(generation, rows=rows) for generation in known}
    gallery, compared = Gallery(rows=rows), 0
    for _ in range(companies):
        kept: list[Ticket] = []
        cancelled: list[Ticket] = []
        for _ in range(dice.randint(2, 5)):
            if dice.random() < 0.15:
                failing = gallery.admit(poisoned(dice))
                kept.append(failing)
            ticket = gallery.admit(dice.choice(known))
            (cancelled if dice.random() < 0.2 else kept).append(ticket)
            for _ in range(dice.randint(0, 3)):
                gallery.studio.tick()
        for ticket in cancelled:
            gallery.studio.drop(ticket)
        gallery.drain()
        for ticket in kept:
            if ticket.generation not in solo:
                assert isinstance(ticket.future.exception(0), EngineFailed)
                continue
            for i, expected in enumerate(solo[ticket.generation]):
                assert np.array_equal(gallery.pictures[ticket, i], expected)
                compared += 1
        gallery.pictures.clear()
    assert compared > 2 * companies
    assert all(not MOODS & set(widths) for widths in rows.answers)


def test_row_counts_that_were_not_tried_would_be_noticed() -> None:
    generation = Generation(prompt="a cat", width=64, height=64, steps=4, guidance_scale=1.0, sampler="DDIM")
    gallery = Gallery(rows=Careless(Graphs(), exact=True))
    ticket = gallery.admit(generation)
    gallery.drain()
    assert not np.array_equal(gallery.pictures[ticket, 0], alone(generation)[0])


@pytest.mark.parametrize("openvino", [False, True], ids=["torch", "openvino"])
def test_a_real_architecture_is_exact_too(sd1: Path, traced: Path, openvino: bool) -> None:
    """Attention, group norms and a real VAE, on as many threads as there are."""
    torch.set_num_threads(2)
    dice = random.Random(5)
    model = Model.load(sd1, device=torch.device("cpu"), dtype=torch.float32, openvino=openvino, kept=traced)
    known = [replace(any_generation(dice), steps=2, samples=1) for _ in range(4)]
    rows = Rows(Graphs(), 4, exact=True)  # tried out once for all: with two threads that is the dear part
    gallery = Gallery(model=model, rows=rows)
    tickets = []
    for generation in known * 2:
        tickets.append(gallery.admit(generation))
        gallery.studio.tick()
    gallery.drain()
    solo = {generation: alone(generation, model, rows) for generation in known}
    for ticket in tickets:
        for i, expected in enumerate(solo[ticket.generation]):
            assert np.array_equal(gallery.pictures[ticket, i], expected)


@pytest.mark.slow
@pytest.mark.parametrize("openvino", [False, True], ids=["torch", "openvino"])
def test_the_bundled_checkpoint_is_exact_in_any_company(openvino: bool) -> None:
    torch.set_num_threads(2)
    dice = random.Random(6)
    model = Model.load(BUNDLED, openvino=openvino)
    samplers = ["DDIM", "EulerAncestralDiscrete", "DPMSolverMultistep"]
    known = [replace(any_generation(dice), sampler=dice.choice(samplers)) for _ in range(8)]
    rows = Rows(Graphs(), 8, exact=True)
    solo = {generation: alone(generation, model, rows) for generation in known}
    gallery = Gallery(model=model, rows=rows)
    for _ in range(6):
        tickets = []
        for generation in dice.choices(known, k=5):
            tickets.append(gallery.admit(generation))
            for _ in range(dice.randint(0, 3)):
                gallery.studio.tick()
        gallery.drain()
        for ticket in tickets:
            for i, expected in enumerate(solo[ticket.generation]):
                assert np.array_equal(gallery.pictures[ticket, i], expected)


@pytest.mark.parametrize("culprit", CULPRITS)
def test_a_poisoned_request_leaves_seven_others_byte_identical(culprit: str) -> None:
    good = [Generation(prompt=f"cat {i}", width=64, height=64, steps=3 + i, seed=i, sampler="DDIM") for i in range(7)]
    gallery = Gallery()
    tickets = [gallery.admit(generation) for generation in good[:4]]
    gallery.studio.tick()
    bad = gallery.admit(Generation(prompt=culprit, width=64, height=64, steps=5, sampler="DDIM"))
    tickets += [gallery.admit(generation) for generation in good[4:]]
    gallery.drain()
    assert isinstance(bad.future.exception(0), EngineFailed)
    for generation, ticket in zip(good, tickets, strict=True):
        assert np.array_equal(gallery.pictures[ticket, 0], alone(generation)[0])


def test_fast_mode_differs_by_no_more_than_a_grey_level() -> None:
    dice = random.Random(7)
    known = [any_generation(dice) for _ in range(12)]
    gallery = Gallery(exact=False)
    tickets = [gallery.admit(generation) for generation in known]
    gallery.drain()
    for generation, ticket in zip(known, tickets, strict=True):
        for i, expected in enumerate(alone(generation)):
            difference = np.abs(gallery.pictures[ticket, i].astype(int) - expected.astype(int))
            assert difference.max() <= 1
    assert max(gallery.micro.calls) == ROWS
    assert min(gallery.micro.calls) < ROWS
