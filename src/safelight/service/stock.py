"""Installed models on a worker's side: their parts put together in files without a name, and shown to the shelf that loads them.

A model is brought when a job asks for it, and in every worker as soon as it is installed. When it is erased it leaves the shelf,
and its files go with the last who reads it. Logs and files know it by its number alone.
"""

from __future__ import annotations

import asyncio
import math
import struct
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Protocol

from safelight.errors import Damaged, Invalid, NotFound
from safelight.service.errands import Errands
from safelight.service.nameless import ALONE, PART_BYTES, Nameless
from safelight.service.seals import SEALED_BYTES
from safelight.service.vault import Vault
from safelight.storage.blobs import Blobs
from safelight.storage.database import Database, Row

GONE = Invalid("model_id", "is not a model on this server")


class Shelf(Protocol):
    """What is needed of the engine's shelf."""

    def add(self, name: str, path: Path) -> None: ...
    def add_lora(self, name: str, path: Path) -> None: ...
    def add_controlnet(self, name: str, path: Path) -> None: ...
    def add_embedding(self, name: str, path: Path) -> None: ...
    def add_vae(self, name: str, path: Path) -> None: ...
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
        self._adding: dict[str, Callable[[str, Path], None]] = {
            "checkpoint": shelf.add, "lora": shelf.add_lora, "controlnet": shelf.add_controlnet, "embedding": shelf.add_embedding,
            "vae": shelf.add_vae,
        }  # fmt: skip
        self._held: dict[int, Nameless] = {}
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
                    model = open_files.enter_context(Nameless(self._scratch))
                    await self._write(row, model, outlined=True)
                    paths.append(model.show())
            yield paths

    async def _bring(self, row: Row) -> None:
        """One at a time: several are rarely wanted at once, and each takes the disk and the network whole."""
        job_id = row["job_id"]
        async with self._bringing:
            if job_id in self._held:
                return
            with ExitStack() as half_made:
                model = half_made.enter_context(Nameless(self._scratch))
                try:
                    await self._write(row, model)
                except (FileNotFoundError, NotFound, Damaged):
                    raise GONE from None
                half_made.pop_all()  # held until it is erased
            self._held[job_id] = model
            self._adding[row["kind"]](name_of(job_id), model.show())

    async def _write(self, row: Row, model: Nameless, *, outlined: bool = False) -> None:
        """``outlined``: of weights the header, and emptiness in place of the rest."""
        for name, size, parts in _files(row, await self._database.all("models.parts", id=row["job_id"])):
            file, bare = model.add(name), outlined and (name == ALONE or name.endswith(".safetensors"))
            for part in parts[:1] if bare else parts:
                data = await self._vault.file_of(part, await self._blobs.get(part["blob_key"]))
                await asyncio.to_thread(file.write, _head(data) if bare else data)
            file.truncate(size)

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
        """The files are closed at once: what is loaded was copied, and what is not shall not be."""
        async with self._bringing:
            model = self._held.pop(job_id, None)
        if model is not None:
            await asyncio.to_thread(self._shelf.remove, name_of(job_id))
            model.close()


def name_of(job_id: int) -> str:
    return f"installed {job_id}"


def _files(row: Row, parts: Sequence[Row]) -> Iterator[tuple[str, int, Sequence[Row]]]:
    """Name and size of each file, and its own of the parts: each file begins with a new one."""
    if row["names"] is None:
        yield ALONE, sum(part["size"] - SEALED_BYTES for part in parts), parts
        return
    begin = 0
    for name, size in zip(row["names"], row["sizes"], strict=True):
        end = begin + math.ceil(size / PART_BYTES)
        yield name, size, parts[begin:end]
        begin = end


def _head(data: bytes) -> bytes:
    return data[: 8 + struct.unpack("<Q", data[:8])[0]]
