"""What workers and serving processes tell each other: every payload fits, comes back as it was, and previews are for one alone."""

from __future__ import annotations

import base64
import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safelight.service.progress import (
    MOST_PREVIEW,
    Ear,
    Preview,
    Step,
    Watch,
    read_steps,
    read_watch,
    seal,
    write_steps,
    write_watch,
)

PAYLOAD = 7_999  # what PostgreSQL takes
NUMBERS = st.integers(0, 2**63 - 1)


@given(steps=st.lists(st.builds(Step, NUMBERS, st.integers(0, 99), st.integers(0, 1000), st.integers(0, 1000))))
def test_steps_come_back_however_many(steps: list[Step]) -> None:
    payloads = list(write_steps(steps * 20))
    assert [step for payload in payloads for step in read_steps(payload)] == steps * 20
    assert max(map(len, payloads), default=0) <= PAYLOAD


@given(jobs=st.lists(NUMBERS, min_size=1, unique=True), shown=st.integers(0, 5))
def test_a_watch_comes_back_in_parts_that_fit(jobs: list[int], shown: int) -> None:
    wanted = [job * 1000 + more for job in jobs for more in range(60)]
    watches = [read_watch(payload) for payload in write_watch(Watch("a" * 44, wanted, frozenset(wanted[:shown])))]
    assert [job for watch in watches for job in watch.jobs] == wanted
    assert frozenset().union(*(watch.previews for watch in watches)) == set(wanted[:shown])
    assert {watch.key for watch in watches} == {"a" * 44}


def test_a_preview_is_for_the_process_that_asked_and_for_no_other() -> None:
    ear, other = Ear(), Ear()
    preview = Preview(2**63 - 1, 51, secrets.token_bytes(MOST_PREVIEW))
    payload = seal(preview, ear.key)
    assert len(payload) <= PAYLOAD
    assert ear.open(payload) == preview
    assert other.open(payload) is None
    assert other.open(payload.replace(ear.key, other.key)) is None
    assert ear.open(payload.replace(" 51 ", " 50 ")) is None
    assert base64.b64encode(preview.picture)[:64].decode() not in payload
    assert seal(preview, ear.key) != payload


def test_an_ear_says_nothing_of_its_secret() -> None:
    assert "X25519PrivateKey object" in repr(Ear())


@pytest.mark.parametrize("side", [8, 64, 128])
def test_a_sketch_fits_a_notification(side: int) -> None:
    import io

    import numpy as np
    from PIL import Image

    from safelight.engine.images import sketch

    noise = np.random.default_rng(1).integers(0, 256, (side, side, 3)).astype(np.uint8)
    file = sketch(noise, MOST_PREVIEW)
    assert len(file) <= MOST_PREVIEW
    with Image.open(io.BytesIO(file)) as picture:
        assert picture.format == "WEBP"
        assert picture.width <= side
