"""The checkpoint that ships: whole, small, licensed, and its own size told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import safelight
from training import nouns
from training.export import bytes_in

MODEL = Path(safelight.__file__).parent / "model"
DATA = Path(nouns.__file__).parent / "data"


def test_it_is_small_enough_to_ship() -> None:
    assert 1e6 < bytes_in(MODEL) <= 60e6


def test_it_tells_its_native_size_and_what_it_knows() -> None:
    about = json.loads((MODEL / "safelight.json").read_text())
    assert about["native_size"] == json.loads((MODEL / "unet" / "config.json").read_text())["sample_size"] * 8
    assert set(about["nouns"]) <= set(nouns.NOUNS)


@pytest.mark.parametrize(
    "source", json.loads((DATA / "LICENCES.json").read_text()).values(), ids=lambda s: str(s["package"])
)
def test_every_source_is_named_with_its_licence(source: dict[str, str]) -> None:
    rows = (MODEL / "LICENCES.md").read_text().splitlines()
    row = next(row for row in rows if f"`{source['package']}`" in row)
    assert all(source[what] in row for what in ("version", "license"))


def test_no_path_of_the_machine_it_was_trained_on_is_left_in_it() -> None:
    for path in MODEL.rglob("*config.json"):
        assert '"/' not in path.read_text()
