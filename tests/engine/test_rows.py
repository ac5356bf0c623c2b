"""How wide a call may be: timed once, then remembered."""

from __future__ import annotations

from pathlib import Path

import pytest

from safelight.engine.plan import Bucket
from safelight.engine.rows import Rows, probe

from .stand_ins import MicroModel, as_model

BUCKET = Bucket("micro", (), 8, 8)


@pytest.mark.parametrize(
    ("seconds", "rows"),
    [
        (lambda rows: 1.0 * rows, 2),  # a machine that gains nothing
        (lambda rows: 1.0, 32),  # one that is never full, until the ladder ends
        (lambda rows: max(1.0, rows / 8), 8),  # one that is full at eight
        (lambda rows: 1.0 if rows < 12 else float("inf"), 8),  # one that runs out of memory
        (lambda rows: 30.0, 2),  # one that is too slow to go on asking
    ],
)
def test_the_knee_is_found(seconds: object, rows: int) -> None:
    assert probe(seconds) == rows  # type: ignore[arg-type]  # lambdas in a list have no better type


def test_the_answer_outlives_the_program(tmp_path: Path) -> None:
    path, model = tmp_path / "rows.json", MicroModel()
    first = Rows(path=path)
    found = first.cap(BUCKET, as_model(model))
    calls = len(model.calls)
    assert calls > 0
    assert Rows(path=path).cap(BUCKET, as_model(model)) == found == first.usual
    assert len(model.calls) == calls


def test_a_fixed_answer_needs_no_timing() -> None:
    model = MicroModel()
    assert Rows(6).cap(BUCKET, as_model(model)) == 6
    assert model.calls == []
