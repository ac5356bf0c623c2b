"""Whose rows go into the next call of the model. A row is one latent through the UNet once; guidance makes two of them.

Decides only: pure Python, no tensors, no clock, no thread. Steps, strength, guidance, seed, sampler and prompt are not
in a bucket, so pictures that differ in all of these share a call. The oldest go first, while their owners' shares allow.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field

AHEAD = 20  # full calls that an owner may have had more than another before age no longer counts


def padded(rows: int, widths: Sequence[int]) -> int:
    """The row count a call is padded to. One that is wider than any stays as it is."""
    return next((width for width in widths if width >= rows), rows)


@dataclass(frozen=True, slots=True)
class Entry:
    """A picture that wants ``rows`` rows in each of its calls. Ids grow with arrival."""

    id: int
    bucket: Hashable
    rows: int = 1
    owner: str = ""
    pixels: int = 1
    priority: int = 0

    @property
    def cost(self) -> int:
        """Of one call."""
        return self.pixels * self.rows

    @property
    def rank(self) -> tuple[int, int]:
        """Among those of one owner."""
        return -self.priority, self.id


@dataclass(frozen=True, slots=True)
class Tick:
    """One call of the model: who takes part, and the row counts it may have."""

    bucket: Hashable
    entries: tuple[Entry, ...]
    widths: Sequence[int]

    @property
    def used(self) -> int:
        return sum(entry.rows for entry in self.entries)

    @property
    def rows(self) -> int:
        return padded(self.used, self.widths)


@dataclass(slots=True)
class Batcher:
    """The pictures in progress, and who has had how much.

    ``widths`` gives the row counts, ascending, that calls of a bucket may have; the last is the cap.
    """

    widths: Callable[[Hashable], Sequence[int]]
    _entries: dict[int, Entry] = field(default_factory=dict)
    _queues: dict[Hashable, dict[str, list[Entry]]] = field(default_factory=dict)
    _known: dict[Hashable, Sequence[int]] = field(default_factory=dict)  # widths of the buckets that are here
    _spent: dict[str, float] = field(default_factory=dict)  # by owners with work here, in cost
    _clock: float = 0.0  # what an even share of everything so far would be

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def add(self, entry: Entry) -> None:
        self._spent.setdefault(entry.owner, self._clock)  # idleness earns no credit
        self._entries[entry.id] = entry
        queue = self._queues.setdefault(entry.bucket, {}).setdefault(entry.owner, [])
        insort(queue, entry, key=lambda e: e.rank)

    def remove(self, entry_id: int) -> None:
        """Finished, failed or cancelled; an id that is not here is no matter."""
        entry = self._entries.pop(entry_id, None)
        if entry is None:
            return
        owners = self._queues[entry.bucket]
        owners[entry.owner].remove(entry)
        if not owners[entry.owner]:
            del owners[entry.owner]
        if not owners:
            del self._queues[entry.bucket]
            self._known.pop(entry.bucket, None)
        if not any(entry.owner in others for others in self._queues.values()):
            del self._spent[entry.owner]

    def next(self) -> Tick | None:
        """The next call. Whoever is in it is charged for it."""
        if not self._entries:
            return None
        least = min(self._spent.values())
        heads = [queue[0] for owners in self._queues.values() for queue in owners.values()]
        bucket = min(heads, key=lambda entry: self._merit(entry, least)).bucket
        entries = tuple(self._fill(bucket, least))
        self._clock += sum(entry.cost for entry in entries) / len(self._spent)
        return Tick(bucket, entries, self._widths(bucket))

    def _merit(self, entry: Entry, least: float) -> tuple[int, float, int]:
        """The smallest goes first: the highest priority, then who is not too far ahead of other owners, then the oldest.

        To share out every call evenly would make everybody late: what is begun is rather finished, up to a point.
        """
        allowed = AHEAD * self._widths(entry.bucket)[-1] * entry.pixels
        return -entry.priority, max(0, self._spent[entry.owner] - least - allowed), entry.id

    def _widths(self, bucket: Hashable) -> Sequence[int]:
        if bucket not in self._known:
            self._known[bucket] = self.widths(bucket)
        return self._known[bucket]

    def _fill(self, bucket: Hashable, least: float) -> Iterator[Entry]:
        """One by one the most deserving, until the call is full."""
        waiting = {owner: iter(queue) for owner, queue in self._queues[bucket].items()}
        heads = {owner: next(queue) for owner, queue in waiting.items()}
        room = cap = self._widths(bucket)[-1]
        while heads and room > 0:
            entry = min(heads.values(), key=lambda entry: self._merit(entry, least))
            if entry.rows <= room or room == cap:  # one that is wider than any call goes alone
                room -= entry.rows
                self._spent[entry.owner] += entry.cost
                yield entry
            following = next(waiting[entry.owner], None)
            if following is None:
                del heads[entry.owner]
            else:
                heads[entry.owner] = following
