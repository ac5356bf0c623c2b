"""Installed models on a worker's side: their parts put together in files without a name, and shown to the shelf that loads them.

A model is brought when a job asks for it, and in every worker as soon as it is installed. When it is erased it leaves the shelf,
and its file goes with the last who reads it. Logs and files know it by its number alone.
"""

from __future__ import annotations

import asyncio
import os
import struct
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

from safelight.errors import Damaged, Invalid, NotFound
from safelight.service.errands import Errands
from safelight.service.seals import SEALED_BYTES
from safelight.service.vault import Vault
from safelight.storage.blobs import Blobs
from safelight.storage.database import Database, Row

GONE = Invalid("model_id", "is not a model on this server")


class Shelf(Protocol):
    """What is needed of the engine's shelf."""

    def add(self, name: str, path: Path) -> None: ...
    def add_lora(self, name: str, path: Path) -> None: ...
    def get(self, name: str | None) -> object: ...
    def remove(self, name: str) -> None: ...


class Stock:
    """Make it before the database is opened, so that it hears what is installed and erased."""

    def __init__(
        self, database: Database, blobs: Blobs, vault: Vault, shelf: Shelf, scratch: Path, own: Sequence[Path]
    ) -> None:
        """``own`` are the checkpoints of the settings."""
        self._database, self._blobs, self._vault, self._shelf = database, blobs, vault, shelf
        self._scratch, self._own = scratch, own
        self._held: dict[int, BinaryIO] = {}
        self._bringing = asyncio.Lock()
        self._errands = Errands("an installed model was not brought")
        database.on("safelight_installed", self._hear_of_installation)
        database.on("safelight_erased", self._hear_of_erasure)

    async def bring(self, owner: str, job_id: int) -> str:
        """The name under which the shelf has the model from now on. Raises Invalid where the owner may not use it."""
        row = await self._database.one("models.usable", id=job_id, account=int(owner))
        if row is None:
            raise GONE
        await self._bring(row)
        return name_of(job_id)

    @asynccontextmanager
    async def checkpoints(self, owner: str) -> AsyncIterator[Sequence[Path]]:
        """Those that the owner may use, to be looked at: of installed ones the header, and emptiness in place of the weights."""
        seen = await self._database.all("models.visible", account=int(owner))
        with ExitStack() as open_files:
            paths = [*self._own, *(Path(row["path"]) for row in await self._database.all("additions.all"))]
            for row in seen:
                if row["kind"] == "checkpoint" and row["state"] == "succeeded":
                    file = open_files.enter_context(tempfile.TemporaryFile(dir=self._scratch))
                    await self._outline(row["job_id"], file)
                    paths.append(_path(file))
            yield paths

    async def _bring(self, row: Row) -> None:
        """One at a time: several are rarely wanted at once, and each takes the disk and the network whole."""
        job_id = row["job_id"]
        async with self._bringing:
            if job_id in self._held:
                return
            with ExitStack() as half_made:
                file = half_made.enter_context(tempfile.TemporaryFile(dir=self._scratch))
                try:
                    await self._write(job_id, file)
                except (FileNotFoundError, NotFound, Damaged):
                    raise GONE from None
                half_made.pop_all()  # held until it is erased
            self._held[job_id] = file
            add = self._shelf.add if row["kind"] == "checkpoint" else self._shelf.add_lora
            add(name_of(job_id), _path(file))

    async def _write(self, job_id: int, file: BinaryIO) -> None:
        for row in await self._database.all("models.parts", id=job_id):
            data = await self._vault.file_of(row, await self._blobs.get(row["blob_key"]))
            await asyncio.to_thread(file.write, data)
        file.flush()

    async def _outline(self, job_id: int, file: BinaryIO) -> None:
        rows = await self._database.all("models.parts", id=job_id)
        first = await self._vault.file_of(rows[0], await self._blobs.get(rows[0]["blob_key"]))
        file.write(first[: 8 + struct.unpack("<Q", first[:8])[0]])
        file.truncate(sum(row["size"] - SEALED_BYTES for row in rows))
        file.flush()

    def _hear_of_installation(self, payload: str | None) -> None:
        if payload is not None:
            self._errands.send(self._load(int(payload)))

    async def _load(self, job_id: int) -> None:
        """Before anybody asks for it."""
        row = await self._database.one("models.usable", id=job_id, account=None)
        if row is None or row["kind"] != "checkpoint":
            return
        await self._bring(row)
        self._shelf.get(name_of(job_id))

    def _hear_of_erasure(self, payload: str | None) -> None:
        """After silence anything may have been erased."""
        job = (payload or "").partition(":")[2]
        if payload is None:
            self._errands.send(self._look_through())
        elif job and int(job) in self._held:
            self._errands.send(self._remove(int(job)))

    async def _look_through(self) -> None:
        for job_id in list(self._held):
            if await self._database.one("models.usable", id=job_id, account=None) is None:
                await self._remove(job_id)

    async def _remove(self, job_id: int) -> None:
        """The file is closed at once: what is loaded was copied, and what is not shall not be."""
        async with self._bringing:
            file = self._held.pop(job_id, None)
        if file is not None:
            await asyncio.to_thread(self._shelf.remove, name_of(job_id))
            file.close()


def name_of(job_id: int) -> str:
    return f"installed {job_id}"


def _path(file: BinaryIO) -> Path:
    """By which programs of this user can open it though it has no name; Linux knows that way."""
    return Path(f"/proc/{os.getpid()}/fd/{file.fileno()}")
