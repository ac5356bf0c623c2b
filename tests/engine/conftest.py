"""Checkpoints that many tests read and none writes, made once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from . import checkpoints


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small run twenty times slower when two threads wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def checkpoint_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("checkpoints")


@pytest.fixture(scope="session")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where OpenVINO's networks of these checkpoints are kept: tracing one takes seconds."""
    return tmp_path_factory.mktemp("traced")


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
