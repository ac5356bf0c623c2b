"""Checkpoints that an operator added by path while the server runs: looked at, kept as rows, and shown to the shelf of every worker.

Knows nothing of what a checkpoint is made of: that is found out by ``safelight models check``.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from safelight.errors import Invalid, NotFound, Unavailable
from safelight.records import Operation, Wants
from safelight.service.aside import run_aside
from safelight.service.errands import Errands
from safelight.settings import Settings
from safelight.storage.database import Database, Row

NAME = re.compile(r"[\w.+-]{1,100}")
MOST_PATH = 4096
TAKEN = "stands for a checkpoint already; remove that one first"
ONLY = {  # what families of one operation are named by ``models check``
    "InstructPix2Pix": Operation.pix2pix,
    "Depth2Img": Operation.depth2img,
}
PICTURES = {"Kontext": 4, "QwenImageEdit": 1, "QwenImageEditPlus": 4}  # of how many an instruction may speak


@dataclass(frozen=True, slots=True)
class Addition:
    """``wants`` is what its card asks for where a caller leaves a field out."""

    id: int
    name: str
    path: Path
    family: str
    wants: Wants
    added_at: datetime


class Additions:
    """What an operator does about them. A path is as the workers see it."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings, self._database = settings, database

    async def all(self) -> list[Addition]:
        return [addition_of(row) for row in await self._database.all("additions.all")]

    async def add(self, name: str, path: Path) -> None:
        """Raises Invalid for a name that is taken and for what is no whole checkpoint."""
        if not NAME.fullmatch(name):
            raise Invalid("name", "must be of letters, digits and . + - _, at most 100 of them")
        if name in {**self._settings.models, **self._settings.loras}:
            raise Invalid("name", "is of the server's settings")
        if await self._database.one("additions.named", name=name):  # before a look that takes seconds
            raise Invalid("name", TAKEN)
        found = await self._look(path)
        async with self._database.transaction() as tx:
            row = await tx.one("additions.add", name=name, path=str(path), **found)
            if row is None:
                raise Invalid("name", TAKEN)
            await tx.run("additions.announce", id=row["id"])

    async def remove(self, name: str) -> None:
        """Its file stays; what is being made with it is finished. Raises NotFound."""
        async with self._database.transaction() as tx:
            row = await tx.one("additions.remove", name=name)
            if row is None:
                raise NotFound(f"No checkpoint {name} was added by path.")
            await tx.run("additions.announce", id=row["id"])

    async def _look(self, path: Path) -> dict[str, Any]:
        if not path.is_absolute() or len(str(path)) > MOST_PATH:
            raise Invalid("path", "must be absolute: a diffusers folder, a .safetensors or a .gguf file")
        said, complaint = await run_aside(self._settings, ("models", "check", "--json", "--", str(path)))
        if not said.startswith(b"{"):
            raise _refusal(complaint)
        found = json.loads(said)
        lacks = [f"{part['name']}: {part['lacks']}" for part in found["parts"] if part["lacks"]]
        if lacks:
            raise Invalid("", f"{path} is not whole. {'; '.join(lacks)}.")
        return {name: found[name] for name in ("family", "steps", "guidance_scale")}


class Shelf(Protocol):
    """What is needed of the engine's shelf."""

    def add(self, name: str, path: Path) -> None: ...
    def get(self, name: str | None) -> object: ...
    def remove(self, name: str) -> None: ...


class Shown:
    """On a worker's side. Make it before the database is opened, so that it hears what is added and removed.

    ``own`` are the names of the settings.
    """

    def __init__(self, database: Database, shelf: Shelf, own: Collection[str]) -> None:
        self._database, self._shelf, self._own = database, shelf, own
        self._shown: set[int] = set()
        self._errands = Errands("a checkpoint that was added is not shown")
        database.on("safelight_shelved", lambda told: self._errands.send(self._follow(told)))

    async def find(self, name: str) -> str:
        """The shelf's name for it; what is not known stays as it is."""
        row = None if name in self._own else await self._database.one("additions.named", name=name)
        return name if row is None else self._show(row)

    def _show(self, row: Row) -> str:
        if row["id"] not in self._shown:
            self._shown.add(row["id"])
            self._shelf.add(name_of(row["id"]), Path(row["path"]))
        return name_of(row["id"])

    async def _follow(self, told: str | None) -> None:
        """What was just added is loaded before anybody asks for it; what was removed goes, also what went unheard."""
        rows = {row["id"]: row for row in await self._database.all("additions.all")}
        for gone in self._shown - rows.keys():
            self._shown.discard(gone)
            await asyncio.to_thread(self._shelf.remove, name_of(gone))
        if told is not None and int(told) in rows:
            self._shelf.get(self._show(rows[int(told)]))


def name_of(number: int) -> str:
    return f"added {number}"


def addition_of(row: Row) -> Addition:
    return Addition(row["id"], row["name"], Path(row["path"]), row["family"], wants_of(row), row["added_at"])


def wants_of(row: Row) -> Wants:
    family = row["family"]
    return Wants(row["steps"], row["guidance_scale"], ONLY.get(family), pictures=PICTURES.get(family, 0))


def _refusal(complaint: bytes) -> Invalid | Unavailable:
    """The sentence that the command ends with, where it does."""
    _, mark, sentence = complaint.decode(errors="replace").rpartition("safelight: ")
    return Invalid("", sentence.strip()) if mark else Unavailable("The checkpoint could not be looked at.")
