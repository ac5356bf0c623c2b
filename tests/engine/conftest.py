"""Checkpoints that many tests read and none writes, made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from . import checkpoints


@pytest.fixture(scope="session")
def checkpoint_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("checkpoints")


@pytest.fixture(scope="session")
def sd1(checkpoint_folder: Path) -> Path:
    return checkpoints.write_sd1(checkpoint_folder / "sd1")


@pytest.fixture(scope="session")
def sd1_inpaint(checkpoint_folder: Path) -> Path:
    return checkpoints.write_sd1_inpaint(checkpoint_folder / "sd1-inpaint")


@pytest.fixture(scope="session")
def sd2(checkpoint_folder: Path) -> Path:
    return checkpoints.write_sd2(checkpoint_folder / "sd2")


@pytest.fixture(scope="session")
def sdxl(checkpoint_folder: Path) -> Path:
    return checkpoints.write_sdxl(checkpoint_folder / "sdxl")
