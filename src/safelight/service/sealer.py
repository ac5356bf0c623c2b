"""Seals what an earlier version left in the clear, a little at a time, while everything stays readable.

A file is sealed under a new name, which then takes the old one's place. Has nothing to do where all is sealed.
"""

from __future__ import annotations

import time

from safelight.errors import NotFound, Unavailable
from safelight.service.seals import Seal
from safelight.service.vault import Vault, sealed_text, was_sent
from safelight.storage.blobs import Blobs, new_key
from safelight.storage.database import Database, Row

BUDGET_SECONDS = 10.0  # of one turn of the reconciler


class Sealer:
    """``run`` it now and then. Several at once do not disturb each other."""

    def __init__(self, database: Database, blobs: Blobs, vault: Vault) -> None:
        self._database, self._blobs, self._vault = database, blobs, vault

    async def run(self) -> int:
        """How many requests and files it sealed. After the last one, what held words in the clear is to be written anew."""
        done, until = 0, time.monotonic() + BUDGET_SECONDS
        while time.monotonic() < until and (now := await self._requests() + await self._files()):
            done += now
        if done and (left := await self._database.one("vault.all_sealed")) and left["done"]:
            await self._database.run("vault.wipe_clear_text")
        return done

    async def _requests(self) -> int:
        async with self._database.transaction() as tx:
            ids = [row["id"] for row in await tx.all("vault.unsealed_requests")]
            rows = await tx.all("vault.unsealed_bodies", ids=ids)
            for row in rows:
                seal = await self._vault.new(row["job_id"])
                await self._vault.keep(tx, row["job_id"], seal, sent=False)
                await tx.run("vault.seal_request", id=row["job_id"], sealed=sealed_text(seal, row["body"]))
        return len(rows)

    async def _files(self) -> int:
        rows = await self._database.all("vault.unsealed_assets")
        return sum([await self._file(row["id"]) for row in rows])

    async def _file(self, asset_id: int) -> bool:
        """Whether it could be; one that is being erased, or whose request is not sealed yet, is passed over."""
        found = await self._database.one("vault.lock_unsealed_asset", id=asset_id)
        if found is None:
            return False
        try:
            data = await self._blobs.get(found["blob_key"])
            sealed = await self._intended(found, data)
        except (FileNotFoundError, NotFound, Unavailable):
            return False
        await self._blobs.put(*sealed)
        async with self._database.transaction() as tx:
            old = await tx.one("vault.give_way", id=asset_id)
            if old is None:
                return False  # erased meanwhile; the new one, which nobody can open, is abandoned
            await tx.run("vault.take_place", blob_key=sealed[0], created=old["created_at"])
        return True

    async def _intended(self, asset: Row, data: bytes) -> tuple[str, bytes]:
        """Its new name and sealed bytes, once a row stands for them."""
        key = new_key(asset["kind"], "." + asset["blob_key"].rpartition(".")[2])
        fresh = await self._vault.new(asset["request_id"])
        async with self._database.transaction() as tx:
            if await tx.one("vault.lock_unsealed_asset", id=asset["id"]) is None:
                raise NotFound
            seal = await self._standing(asset)
            if seal is None:
                seal = fresh
                await self._vault.keep(tx, asset["request_id"], seal, sent=True)
            sealed = seal.close(data, key)
            await tx.run("vault.intend_sealed", id=asset["id"], blob_key=key, size=len(sealed))
        return key, sealed

    async def _standing(self, asset: Row) -> Seal | None:
        """The key that its request has already. What was made has one as soon as its request's text is sealed."""
        try:
            return await self._vault.seal_of(asset["request_id"], sent=was_sent(asset))
        except NotFound:
            if not was_sent(asset):
                raise
            return None
