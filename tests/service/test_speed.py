"""How fast an engine is said to be: by a clock that the tests set, jobs one after the other and side by side."""

from __future__ import annotations

import pytest

from safelight.service.speed import UNMEASURED, Meter

LARGE, SMALL = 1e7, 8e3  # a picture of 512 pixels in 20 steps; one of 64 in one


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def work(meter: Meter, clock: Clock, cost: float, seconds: float) -> None:
    began = meter.begin()
    clock.now += seconds
    meter.note(cost)
    meter.end(began)


def test_small_jobs_do_not_make_large_ones_look_slow() -> None:
    meter = Meter(clock := Clock())
    work(meter, clock, LARGE, 4.0)
    for _ in range(300):
        work(meter, clock, SMALL, 0.6)
    assert LARGE * (meter.seconds_per_cost or 0) == pytest.approx(4.0, rel=0.05)


def test_small_jobs_alone_tell_little_until_a_large_one_does() -> None:
    meter = Meter(clock := Clock())
    for _ in range(300):
        work(meter, clock, SMALL, 0.6)
    assert LARGE * (meter.seconds_per_cost or 0) == pytest.approx(LARGE / UNMEASURED, rel=0.5)
    work(meter, clock, LARGE, 40.0)
    assert LARGE * (meter.seconds_per_cost or 0) == pytest.approx(40.0, rel=0.1)


def test_an_engine_that_became_slower_is_believed_within_some_jobs() -> None:
    meter = Meter(clock := Clock())
    for _ in range(100):
        work(meter, clock, LARGE, 4.0)
    for _ in range(10):
        work(meter, clock, LARGE, 8.0)
    assert LARGE * (meter.seconds_per_cost or 0) == pytest.approx(8.0, rel=0.05)


def test_jobs_side_by_side_share_the_time() -> None:
    meter = Meter(clock := Clock())
    for _ in range(10):
        first, second = meter.begin(), meter.begin()
        clock.now += 4.0
        meter.note(2 * LARGE)
        meter.end(first)
        meter.end(second)
    assert LARGE * (meter.seconds_per_cost or 0) == pytest.approx(2.0, rel=0.01)
