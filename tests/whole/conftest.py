"""The running house: one server for all tests that leave it as they found it, and the means to start others."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

from tests.engine.checkpoints import write_sd1
from tests.whole.running import QUICK, Running, serving
from tests.whole.website import Website, website

PHOTO = Path(__file__).parents[2] / "src/safelight/samples/photo.jpg"
DRAWING = PHOTO.with_name("drawing.png")


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A small random checkpoint of the true architecture."""
    return str(write_sd1(tmp_path_factory.mktemp("model") / "random", native_size=64))


@contextmanager
def a_folder() -> Iterator[Path]:
    """Not pytest's own, whose upper folder every other session of pytest closes to the user that root lends the database."""
    with tempfile.TemporaryDirectory(prefix="safelight-") as made:
        yield Path(made) / "d"


@pytest.fixture(scope="session")
def house_of_all(checkpoint: str) -> Iterator[Running]:
    """Its safety checker finds everything unsafe; whoever wants a picture does not ask for the check."""
    settings = {**QUICK, "SAFELIGHT_PRIVATE_HOSTS": '["127.0.0.1"]', "SAFELIGHT_SAFETY_THRESHOLD": "0"}
    with a_folder() as data, serving(data, SAFELIGHT_MODEL=checkpoint, **settings) as server:
        yield server


@pytest.fixture
def server(house_of_all: Running) -> Running:
    """A server with a worker, shared by all tests."""
    house_of_all.wait_ready()
    return house_of_all


@pytest.fixture(scope="session")
def door() -> Iterator[Running]:
    """A server without a worker, shared: starts quickly, makes no picture."""
    with a_folder() as data, serving(data, "--workers", "0") as server:
        yield server


@pytest.fixture
def data() -> Iterator[Path]:
    """Where a new data directory may be made, by a path short enough for sockets."""
    with a_folder() as made:
        yield made


@pytest.fixture
def site() -> Iterator[Website]:
    """Somebody's web server, with a photo on it."""
    file = io.BytesIO()
    Image.open(PHOTO).convert("RGB").resize((128, 128)).save(file, "PNG")
    with website(file.getvalue()) as here:
        yield here
