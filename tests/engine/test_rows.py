"""How wide a call may be: tried out once, then remembered."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch

from safelight.engine import rows
from safelight.engine.generation import Generation, LoraUse
from safelight.engine.graphs import Graphs
from safelight.engine.plan import Plan, make_plan
from safelight.engine.rows import LADDER, Rows, equals, probe
from safelight.engine.samplers import Samplers

from .stand_ins import MOODS, MicroModel, as_model


def plan(model: MicroModel, **what: Any) -> Plan:
    return make_plan(Generation(prompt="a cat", width=64, height=64, **what), as_model(model), Samplers())


@pytest.mark.parametrize(
    ("seconds", "knee"),
    [
        (lambda rows: 1.0 * rows, 2),  # a machine that gains nothing
        (lambda rows: 0.1, 32),  # one that is never full, until the ladder ends
        (lambda rows: max(1.0, rows / 8) / 10, 8),  # one that is full at eight
        (lambda rows: 0.1 if rows < 12 else float("inf"), 8),  # one that runs out of memory
        (lambda rows: 30.0, 2),  # one that is too slow to go on asking
    ],
)
def test_the_knee_is_found(seconds: object, knee: int) -> None:
    assert probe(seconds) == knee  # type: ignore[arg-type]  # lambdas in a list have no better type


def test_noise_that_comes_and_goes_changes_no_answer() -> None:
    noise = itertools.cycle([1.0, 7.0, 1.0, 1.0, 5.0])
    assert probe(lambda rows: max(1.0, rows / 8) * next(noise) / 100) == 8


def test_only_row_counts_of_the_same_bits_are_in_use() -> None:
    model = MicroModel(moody=True)
    assert not MOODS & set(Rows(Graphs(), 12, exact=True).widths(plan(model)))
    assert Rows(Graphs(), 12, exact=False).widths(plan(model)) == (1, 2, 3, 4, 6, 8, 12)


@pytest.mark.parametrize(
    ("alike", "widths"),
    [
        ({32: [3, 32], 16: [2, 16], 8: [2, 8]}, (3, 32)),  # the fastest does
        ({32: [1, 32], 16: [24, 16], 8: [3, 4, 8]}, (3, 4, 8)),  # the first in which a guided picture costs few rows
        ({32: [32], 16: [16], 8: [6, 8]}, (32,)),  # none is better
    ],
)
def test_a_cap_that_makes_a_lone_picture_dear_gives_way(
    alike: dict[int, list[int]], widths: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "probe", lambda seconds: 32)
    monkeypatch.setattr(rows, "equals", lambda call, cap: alike[cap])
    assert Rows(Graphs(), exact=True).widths(plan(MicroModel())) == widths


def test_a_device_on_which_neighbours_matter_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    """Such a cap is not made better by fewer rows."""
    assert equals(lambda order: torch.arange(len(order)), 8) == [8]
    assert "cannot keep its promise" in caplog.text


def test_the_answer_outlives_the_program(tmp_path: Path) -> None:
    path, model = tmp_path / "rows.json", MicroModel(moody=True)
    first = Rows(Graphs(), path=path, exact=True).widths(plan(model))
    calls = len(model.calls)
    assert calls > 0
    assert Rows(Graphs(), path=path, exact=True).widths(plan(model)) == first
    assert Rows(Graphs(), path=path, exact=False).widths(plan(model))[-1] == first[-1]
    assert len(model.calls) == calls


def test_another_lora_is_tried_out_anew() -> None:
    model, widths = MicroModel(), Rows(Graphs(), 6, exact=True)
    calls = [0]
    for loras in ((), (LoraUse("style"),), (LoraUse("style", 0.5),)):
        widths.widths(plan(model, loras=loras))
        calls.append(len(model.calls))
    assert calls[0] < calls[1] < calls[2] == calls[3]


def test_a_fixed_cap_in_fast_mode_needs_no_call() -> None:
    model = MicroModel()
    assert Rows(Graphs(), 5, exact=False).widths(plan(model)) == (1, 2, 3, 4, 5)
    assert model.calls == []
    assert sorted(LADDER) == list(LADDER)
