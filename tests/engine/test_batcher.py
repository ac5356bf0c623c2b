"""Whose turn it is: pure decisions, without torch."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections import Counter
from collections.abc import Hashable

from hypothesis import given
from hypothesis import strategies as st

from safelight.engine.batcher import AHEAD, Batcher, Entry, Tick, padded


def batcher(*widths: int) -> Batcher:
    return Batcher(lambda bucket: widths or (4,))


def ids(tick: Tick | None) -> list[int]:
    assert tick is not None
    return [entry.id for entry in tick.entries]


def test_it_needs_no_torch() -> None:
    probe = "import sys, safelight.engine.batcher; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", probe], check=False).returncode == 0


def test_with_nothing_to_do_there_is_no_tick() -> None:
    assert batcher().next() is None


def test_the_oldest_go_first_and_a_newcomer_joins_at_the_next_step() -> None:
    room = batcher(4)
    room.add(Entry(0, "a", rows=2))
    assert ids(room.next()) == [0]
    room.add(Entry(1, "a", rows=2))
    room.add(Entry(2, "a", rows=2))
    assert ids(room.next()) == [0, 1]
    room.remove(0)
    assert ids(room.next()) == [1, 2]


def test_buckets_never_mix_and_the_oldest_chooses() -> None:
    room = batcher()
    for i, bucket in enumerate(["small", "large", "small", "large"]):
        room.add(Entry(i, bucket))
    assert ids(room.next()) == [0, 2]
    room.remove(0)
    assert ids(room.next()) == [1, 3]


def test_owners_share_by_cost_however_many_requests_they_send() -> None:
    """Also those who ask for larger pictures, in another bucket."""
    room = batcher(2)
    for i in range(20):
        room.add(Entry(i, "large", rows=2, owner="flood", pixels=4))
    room.add(Entry(20, "small", rows=2, owner="one"))
    turns = Counter(entry.owner for _ in range(1000) if (tick := room.next()) for entry in tick.entries)
    assert abs(turns["one"] - 4 * turns["flood"]) <= 4 * AHEAD


def test_a_lone_request_waits_for_a_flood_no_longer_than_the_flood_may_be_ahead() -> None:
    """5,000 pictures of twenty steps before it, and it is done in the time of two."""
    room, steps = batcher(3, 4, 8), 20
    for i in range(5000):
        room.add(Entry(i, "a", rows=2, owner="flood"))
    room.add(Entry(5000, "a", rows=2, owner="one"))
    left = dict.fromkeys(range(5001), steps)
    calls = 0
    while left[5000]:
        calls += 1
        for i in ids(room.next()):
            left[i] -= 1
            if left[i] == 0:
                room.remove(i)
    assert calls <= AHEAD + 1 + steps == 2 * steps + 1


def test_what_is_begun_is_finished_before_newcomers_of_other_owners_are_begun() -> None:
    room, finished = batcher(4), []
    for i in range(6):
        room.add(Entry(i, "a", rows=2, owner=f"{i}"))
    left = dict.fromkeys(range(6), 10)
    while (tick := room.next()) is not None:
        for i in ids(tick):
            left[i] -= 1
            if left[i] == 0:
                finished.append(i)
                room.remove(i)
        assert sum(0 < steps < 10 for steps in left.values()) <= 2
    assert finished == list(range(6))


def test_who_is_ahead_does_not_starve_behind_new_owners_without_end() -> None:
    room = batcher(1)
    room.add(Entry(0, "a", owner="ahead"))
    room.add(Entry(1, "a", owner="behind"))
    while ids(room.next()) == [0]:
        pass
    turns = 0
    for i in range(2, 1000, 2):  # twice as many as can be served
        room.add(Entry(i, "a", owner=f"new {i}"))
        room.add(Entry(i + 1, "a", owner=f"new {i + 1}"))
        (served,) = ids(room.next())
        turns += served == 0
        if served > 1:
            room.remove(served)
    assert turns > 5


def test_idleness_earns_no_credit() -> None:
    room = batcher(1)
    room.add(Entry(0, "a", owner="busy"))
    for _ in range(100):
        room.next()
    room.add(Entry(1, "a", owner="late"))
    turns = [ids(room.next())[0] for _ in range(AHEAD + 11)]
    assert turns[: AHEAD + 1] == [0] * (AHEAD + 1)
    assert turns[AHEAD + 1 :] == [1, 0] * 5


def test_a_higher_priority_goes_first() -> None:
    room = batcher(1)
    room.add(Entry(0, "a"))
    room.add(Entry(1, "b", priority=5))
    assert ids(room.next()) == [1]
    room.remove(1)
    assert ids(room.next()) == [0]


def test_a_gap_is_filled_by_whoever_fits() -> None:
    room = batcher(3)
    room.add(Entry(0, "a", rows=2))
    room.add(Entry(1, "a", rows=2))
    room.add(Entry(2, "a", rows=1))
    assert ids(room.next()) == [0, 2]


def test_one_that_is_wider_than_a_call_goes_alone() -> None:
    room = batcher(1)
    room.add(Entry(0, "a", rows=2))
    room.add(Entry(1, "a", rows=2))
    tick = room.next()
    assert ids(tick) == [0]
    assert tick is not None
    assert tick.rows == 2


def test_a_call_is_padded_to_the_next_width_there_is() -> None:
    room = batcher(4, 6, 12)
    for i in range(5):
        room.add(Entry(i, "a"))
    tick = room.next()
    assert tick is not None
    assert (tick.used, tick.rows) == (5, 6)
    assert [padded(rows, (4, 6, 12)) for rows in (1, 4, 5, 7, 12, 13)] == [4, 4, 6, 12, 12, 13]


def test_the_widths_of_a_bucket_are_asked_for_once_while_it_is_here() -> None:
    asked: list[Hashable] = []

    def widths(bucket: Hashable) -> tuple[int]:
        asked.append(bucket)
        return (4,)

    room = Batcher(widths)
    for i in range(3):
        room.add(Entry(i, "a"))
        room.next()
        room.next()
    assert asked == ["a"]


def test_what_leaves_is_forgotten() -> None:
    room = batcher()
    room.add(Entry(0, "a", owner="ann"))
    room.remove(0)
    room.remove(0)
    assert len(room) == 0
    assert room.next() is None
    assert not room._queues
    assert not room._spent
    assert not room._known


picture = st.tuples(
    st.sampled_from(["a", "b"]), st.integers(1, 2), st.sampled_from(["ann", "bob", "eve"]), st.integers(1, 6)
)


@given(st.lists(picture, min_size=1, max_size=25), st.sets(st.integers(2, 8), min_size=1).map(sorted))
def test_everyone_is_served_to_the_end(pictures: list[tuple[str, int, str, int]], widths: list[int]) -> None:
    """Whatever is asked, no call is too wide or mixed, nobody is in it twice, and everybody finishes."""
    room, left = batcher(*widths), {}
    for i, (bucket, rows, owner, steps) in enumerate(pictures):
        room.add(Entry(i, bucket, rows, owner, pixels=1 if bucket == "a" else 3))
        left[i] = steps
    for turn in itertools.count():
        tick = room.next()
        if tick is None:
            break
        assert turn < sum(steps for *_, steps in pictures)
        assert 0 < tick.used <= tick.rows
        assert tick.rows in widths
        assert len(set(ids(tick))) == len(tick.entries)
        assert {entry.bucket for entry in tick.entries} == {tick.bucket}
        for i in ids(tick):
            left[i] -= 1
            if left[i] == 0:
                room.remove(i)
    assert set(left.values()) == {0}
