"""Where the keys of requests are: made with a request, asked for by all who read or write what belongs to it, deleted to erase it.

Everything that a caller wrote or sent, and everything made of it, is sealed and opened through here. Opened keys are remembered
for a minute and dropped when their request is erased. Knows nothing of where sealed bytes rest.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from safelight.errors import NotFound, SetupFailed, Unavailable
from safelight.service.masters import Masters
from safelight.service.seals import Seal
from safelight.storage import drawers
from safelight.storage.database import Database, Row, Transaction

REMEMBERED_SECONDS = 60.0
MOST_REMEMBERED = 10_000
TEXT = "request"  # the place of what a caller wrote; files are at their blob's key
PATIENCE = 0.2  # seconds between two looks for those who still use a retired master key

Which = tuple[int, bool]  # a request's id; whether what its caller sent is meant, or all else


class Vault:
    """Make it before the database is opened, so that it hears of erasures; ``open`` it after."""

    def __init__(self, database: Database, masters: Masters) -> None:
        self._database, self._masters = database, masters
        self._remembered: dict[Which, tuple[Seal, float]] = {}
        self._held: dict[int, Seal] = {}  # keys that rest nowhere, whatever for
        self._drawers: set[int] = set()
        database.on("safelight_erased", self._hear_of_erasure)

    async def open(self, *, may_make: bool = False) -> None:
        """Raises SetupFailed where the master key at hand is not the one that this database's keys are wrapped under."""
        async with self._database.transaction() as tx:
            await tx.run("vault.lock_masters")
            known = {row["mark"] for row in await tx.all("vault.masters")}
            await asyncio.to_thread(self._masters.load, may_make=may_make and not known)
            if known - self._masters.marks:
                raise SetupFailed(
                    "The master key at hand does not open what this database holds. Give the one it was begun with: the file "
                    "master.key of the server's data directory, or SAFELIGHT_MASTER_KEY."
                )
            await tx.run("vault.know_master", mark=self._masters.current)

    @property
    def masters(self) -> Masters:
        return self._masters

    def hold(self, request_id: int, seal: Seal) -> None:
        """A key that is to rest nowhere: from here on it is in memory, until it is let go or its request is erased."""
        self._held[request_id] = seal

    def held(self, request_id: int) -> Seal | None:
        return self._held.get(request_id)

    def let_go(self, request_id: int) -> None:
        self._held.pop(request_id, None)

    async def new(self, request_id: int) -> Seal:
        """A key that will stand once it is kept. Called outside of the transaction that keeps it."""
        if held := self._held.get(request_id):
            return held
        await self._make_room(request_id)
        return Seal.new()

    async def keep(self, tx: Transaction, request_id: int, seal: Seal, *, sent: bool) -> None:
        if request_id in self._held:
            return
        if not await self._keep(tx, request_id, seal, sent):
            await asyncio.to_thread(self._masters.load)  # a new one was made meanwhile
            if not await self._keep(tx, request_id, seal, sent):
                raise Unavailable
        self._remember((request_id, sent), seal)

    async def seal_of(self, request_id: int, *, sent: bool) -> Seal:
        """Raises NotFound where the key was deleted: what it sealed is lost for good."""
        if held := self._held.get(request_id):
            return held
        which = (request_id, sent)
        seal, until = self._remembered.get(which, (None, 0.0))
        if seal is not None and until > time.monotonic():
            return seal
        rows = await self._database.all("vault.find", ids=[request_id], sent=sent)
        if not rows:
            raise NotFound(ids=[request_id])
        return await self._unwrapped(rows[0], sent)

    async def look_up(self, ids: Sequence[int]) -> None:
        """The keys of many requests at once, so that none of them is asked for by itself."""
        now = time.monotonic()
        wanted = [each for each in ids if self._remembered.get((each, False), (None, 0.0))[1] < now]
        for row in await self._database.all("vault.find", ids=wanted, sent=False) if wanted else ():
            await self._unwrapped(row, sent=False)

    async def forget(self, tx: Transaction, ids: Sequence[int]) -> None:
        """From the commit of ``tx`` on nothing that was sealed for these requests can be opened by anybody."""
        await tx.run("vault.forget", ids=list(ids), sent_only=False)
        for request_id in ids:
            self._drop(request_id)

    async def text_of(self, row: Row) -> Mapping[str, Any] | None:
        """What the caller of a job wrote, from a row with its ``id``, ``unstored``, ``sealed`` and ``body``.

        None where it was not stored, and the key is not here.
        """
        if row["unstored"] and row["id"] not in self._held:
            return None
        if row["sealed"] is None:
            found: Mapping[str, Any] | None = row["body"]
            return found
        seal = await self.seal_of(row["id"], sent=False)
        opened: Mapping[str, Any] = json.loads(seal.open(row["sealed"], TEXT))
        return opened

    async def file_of(self, asset: Row, data: bytes) -> bytes:
        if not asset["sealed"]:
            return data
        seal = await self.seal_of(asset["request_id"], sent=was_sent(asset))
        return seal.open(data, asset["blob_key"])

    async def rotate(self, note: Callable[[int, int], None]) -> int:
        """Wraps every key under a new master key, or under the first of those that are given; how many keys there were.

        May be broken off at any moment and begun again. ``note`` is told how many are done, of how many.
        """
        if self._masters.in_file and len(self._masters.marks) == 1:
            await asyncio.to_thread(self._masters.add)
        mark = self._masters.current
        async with self._database.transaction() as tx:
            await tx.run("vault.know_master", mark=mark)
            await tx.run("vault.retire_masters", mark=mark)
        found = await self._database.one("vault.to_rewrap", mark=mark)
        assert found is not None
        done = 0
        while len(await self._database.all("vault.masters")) > 1:
            after = 0
            while ids := await self._rewrap_some(mark, after):
                done, after = done + len(ids), ids[-1]
                note(done, found["keys"])
            if not await self._database.run("vault.drop_masters"):
                await asyncio.sleep(PATIENCE)
        if self._masters.in_file:
            await asyncio.to_thread(self._masters.keep_only_current)
        return done

    async def _rewrap_some(self, mark: bytes, after: int) -> list[int]:
        async with self._database.transaction() as tx:
            rows = await tx.all("vault.next_to_rewrap", mark=mark, after=after)
            ids, sents = [row["request_id"] for row in rows], [row["sent"] for row in rows]
            fresh = [self._rewrapped(row) for row in rows]
            if ids:
                await tx.run("vault.rewrap", mark=mark, ids=ids, sents=sents, wrapped=fresh)
        return ids

    def _rewrapped(self, row: Row) -> bytes:
        place = _place((row["request_id"], row["sent"]))
        return self._masters.wrap(self._masters.unwrap(row["master"], row["wrapped"], place), place)

    async def _keep(self, tx: Transaction, request_id: int, seal: Seal, sent: bool) -> bool:
        wrapped = self._masters.wrap(seal.key, _place((request_id, sent)))
        master = self._masters.current
        return await tx.run("vault.keep", id=request_id, sent=sent, master=master, wrapped=wrapped) == 1

    async def _unwrapped(self, row: Row, sent: bool) -> Seal:
        which = (row["request_id"], sent)
        if row["master"] not in self._masters.marks:
            await asyncio.to_thread(self._masters.load)
        seal = Seal(self._masters.unwrap(row["master"], row["wrapped"], _place(which)))
        self._remember(which, seal)
        return seal

    async def _make_room(self, request_id: int) -> None:
        drawer = drawers.drawer_of(request_id)
        if drawer not in self._drawers:
            await drawers.make(self._database, drawer)
            self._drawers.add(drawer)

    def _remember(self, which: Which, seal: Seal) -> None:
        while len(self._remembered) >= MOST_REMEMBERED:
            del self._remembered[next(iter(self._remembered))]
        until = time.monotonic() + REMEMBERED_SECONDS
        self._remembered[which] = (seal, until)
        asyncio.get_running_loop().call_later(REMEMBERED_SECONDS, self._drop_old, which, until)

    def _drop_old(self, which: Which, until: float) -> None:
        if self._remembered.get(which, (None, 0.0))[1] <= until:
            self._remembered.pop(which, None)

    def _drop(self, request_id: int) -> None:
        self.let_go(request_id)
        for sent in (False, True):
            self._remembered.pop((request_id, sent), None)

    def _hear_of_erasure(self, payload: str | None) -> None:
        """After silence anything may have been erased."""
        if payload is None:
            self._remembered.clear()
        elif job := payload.partition(":")[2]:
            self._drop(int(job))


async def forget_sent(tx: Transaction, ids: Sequence[int]) -> None:
    """Of these requests, what their callers sent; what was made of it stays."""
    await tx.run("vault.forget", ids=list(ids), sent_only=True)


async def forget_unused(tx: Transaction, requests: Sequence[Row]) -> None:
    """Of requests that came to nothing, by their ``id``; those that stand keep their keys."""
    if requests:
        await tx.run("vault.forget_unused", ids=[row["id"] for row in requests])


def was_sent(asset: Row) -> bool:
    """Whether it came from the caller; what was made has the fence of its maker."""
    return bool(asset["fence"] == 0)


def sealed_text(seal: Seal, body: Mapping[str, Any]) -> bytes:
    return seal.close(json.dumps(body).encode(), TEXT)


def _place(which: Which) -> str:
    return f"{which[0]}:{'sent' if which[1] else 'made'}"
