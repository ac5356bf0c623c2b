"""Whose rows go into the next call of the model. A row is one latent through the UNet once; guidance makes two of them.

Decides only: pure Python, no tensors, no clock, no thread. Steps, strength, guidance, seed, sampler and prompt are not
in a bucket, so pictures that differ in all of these share a call; owners share the machine by predicted cost.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field

LADDER = (1, 2, 4, 6, 8, 12, 16, 24, 32)


def padded(rows: int) -> int:
    """The row count a call is padded to, so that few shapes are ever seen."""
    return next((count for count in LADDER if count >= rows), -(-rows // 8) * 8)


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
        return -self.priority, self.id


@dataclass(frozen=True, slots=True)
class Tick:
    """One call of the model: who takes part, and the row count it is padded to."""

    bucket: Hashable
    entries: tuple[Entry, ...]
    rows: int

    @property
    def used(self) -> int:
        return sum(entry.rows for entry in self.entries)


@dataclass(slots=True)
class Batcher:
    """The pictures in progress, and who has had how much.

    ``cap`` gives the most rows of one call of a bucket. ``exact`` pads every call to that number, so that a picture's
    bytes cannot depend on its company; otherwise to the next rung of the ladder.
    """

    cap: Callable[[Hashable], int]
    exact: bool = True
    _entries: dict[int, Entry] = field(default_factory=dict)
    _queues: dict[Hashable, dict[str, list[Entry]]] = field(default_factory=dict)
    _spent: dict[str, float] = field(default_factory=dict)  # by owners with work here, in cost
    _served: dict[Hashable, float] = field(default_factory=dict)  # likewise by bucket

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def add(self, entry: Entry) -> None:
        # A newcomer starts level with whoever has had least: idleness earns no credit.
        self._spent.setdefault(entry.owner, min(self._spent.values(), default=0.0))
        self._served.setdefault(entry.bucket, min(self._served.values(), default=0.0))
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
            del self._queues[entry.bucket], self._served[entry.bucket]
        if not any(entry.owner in others for others in self._queues.values()):
            del self._spent[entry.owner]

    def next(self) -> Tick | None:
        """The next call. Whoever is in it is charged for it."""
        if not self._entries:
            return None
        bucket = self._next_bucket()
        entries = tuple(self._fill(bucket))
        self._served[bucket] += sum(entry.cost for entry in entries)
        used = sum(entry.rows for entry in entries)
        return Tick(bucket, entries, max(self.cap(bucket), used) if self.exact else padded(used))

    def _next_bucket(self) -> Hashable:
        """That of the most deserving picture: highest priority, least served owner, least served bucket, oldest."""
        heads = [queue[0] for owners in self._queues.values() for queue in owners.values()]
        return min(heads, key=lambda e: (-e.priority, self._spent[e.owner], self._served[e.bucket], e.id)).bucket

    def _fill(self, bucket: Hashable) -> Iterator[Entry]:
        """Turn by turn the owner who has had least adds its oldest picture, until the call is full."""
        waiting = {owner: iter(queue) for owner, queue in self._queues[bucket].items()}
        heads = {owner: next(queue) for owner, queue in waiting.items()}
        room = cap = self.cap(bucket)
        while heads and room > 0:
            entry = min(heads.values(), key=lambda e: (-e.priority, self._spent[e.owner], e.id))
            if entry.rows <= room or room == cap:  # one that is wider than any call goes alone
                room -= entry.rows
                self._spent[entry.owner] += entry.cost
                yield entry
            following = next(waiting[entry.owner], None)
            if following is None:
                del heads[entry.owner]
            else:
                heads[entry.owner] = following
