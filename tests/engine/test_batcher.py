"""Whose turn it is: pure decisions, without torch."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from safelight.engine.batcher import LADDER, Batcher, Entry, Tick, padded


def batcher(cap: int = 4, exact: bool = True) -> Batcher:
    return Batcher(lambda bucket: cap, exact)


def ids(tick: Tick | None) -> list[int]:
    assert tick is not None
    return [entry.id for entry in tick.entries]


def test_it_needs_no_torch() -> None:
    probe = "import sys, safelight.engine.batcher; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", probe], check=False).returncode == 0


def test_with_nothing_to_do_there_is_no_tick() -> None:
    assert batcher().next() is None


def test_the_oldest_go_first_and_a_newcomer_joins_at_the_next_step() -> None:
    room = batcher(cap=4)
    room.add(Entry(0, "a", rows=2))
    assert ids(room.next()) == [0]
    room.add(Entry(1, "a", rows=2))
    room.add(Entry(2, "a", rows=2))
    assert ids(room.next()) == [0, 1]
    room.remove(0)
    assert ids(room.next()) == [1, 2]


def test_buckets_never_mix_and_take_turns_by_cost() -> None:
    room = batcher()
    room.add(Entry(0, "small", pixels=1))
    room.add(Entry(1, "large", pixels=4))
    served = Counter(tick.bucket for tick in (room.next() for _ in range(50)) if tick)
    assert served["small"] == 4 * served["large"]


def test_owners_share_by_cost_however_many_requests_they_send() -> None:
    room = batcher(cap=2)
    for i in range(20):
        room.add(Entry(i, "a", rows=2, owner="flood"))
    room.add(Entry(20, "a", rows=2, owner="one"))
    turns = Counter(entry.owner for _ in range(40) if (tick := room.next()) for entry in tick.entries)
    assert turns["one"] == turns["flood"] == 20


def test_a_call_is_divided_between_owners() -> None:
    room = batcher(cap=4)
    for i in range(6):
        room.add(Entry(i, "a", owner="flood"))
    room.add(Entry(6, "a", owner="one"))
    assert ids(room.next()) == [0, 6, 1, 2]


def test_idleness_earns_no_credit() -> None:
    room = batcher(cap=1)
    room.add(Entry(0, "a", owner="busy"))
    for _ in range(100):
        room.next()
    room.add(Entry(1, "a", owner="late"))
    assert sorted(ids(room.next()) + ids(room.next())) == [0, 1]


def test_a_higher_priority_goes_first() -> None:
    room = batcher(cap=1)
    room.add(Entry(0, "a"))
    room.add(Entry(1, "b", priority=5))
    assert ids(room.next()) == [1]
    room.remove(1)
    assert ids(room.next()) == [0]


def test_a_gap_is_filled_by_whoever_fits() -> None:
    room = batcher(cap=3)
    room.add(Entry(0, "a", rows=2))
    room.add(Entry(1, "a", rows=2))
    room.add(Entry(2, "a", rows=1))
    assert ids(room.next()) == [0, 2]


def test_one_that_is_wider_than_a_call_goes_alone() -> None:
    room = batcher(cap=1)
    room.add(Entry(0, "a", rows=2))
    room.add(Entry(1, "a", rows=2))
    tick = room.next()
    assert ids(tick) == [0]
    assert tick is not None
    assert tick.rows == 2


def test_exact_calls_have_one_width_and_others_the_next_rung() -> None:
    for exact, width in ((True, 12), (False, 4)):
        room = batcher(cap=12, exact=exact)
        for i in range(3):
            room.add(Entry(i, "a"))
        tick = room.next()
        assert tick is not None
        assert (tick.used, tick.rows) == (3, width)


def test_the_ladder() -> None:
    assert [padded(rows) for rows in (1, 3, 5, 9, 17, 33)] == [1, 4, 6, 12, 24, 40]
    assert [padded(rows) for rows in LADDER] == list(LADDER)


def test_what_leaves_is_forgotten() -> None:
    room = batcher()
    room.add(Entry(0, "a", owner="ann"))
    room.remove(0)
    room.remove(0)
    assert len(room) == 0
    assert room.next() is None
    assert not room._queues
    assert not room._spent
    assert not room._served


picture = st.tuples(
    st.sampled_from(["a", "b"]), st.integers(1, 2), st.sampled_from(["ann", "bob", "eve"]), st.integers(1, 6)
)


@given(st.lists(picture, min_size=1, max_size=25), st.integers(2, 8), st.booleans())
def test_everyone_is_served_to_the_end(pictures: list[tuple[str, int, str, int]], cap: int, exact: bool) -> None:
    """Whatever is asked, no call is too wide or mixed, nobody is in it twice, and everybody finishes."""
    room, left = Batcher(lambda bucket: cap, exact), {}
    for i, (bucket, rows, owner, steps) in enumerate(pictures):
        room.add(Entry(i, bucket, rows, owner, pixels=1 if bucket == "a" else 3))
        left[i] = steps
    for turn in itertools.count():
        tick = room.next()
        if tick is None:
            break
        assert turn < sum(steps for *_, steps in pictures)
        assert 0 < tick.used <= cap
        assert tick.used <= tick.rows
        assert len(set(ids(tick))) == len(tick.entries)
        assert {entry.bucket for entry in tick.entries} == {tick.bucket}
        for i in ids(tick):
            left[i] -= 1
            if left[i] == 0:
                room.remove(i)
    assert set(left.values()) == {0}
