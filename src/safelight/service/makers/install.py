"""Installing a model: fetched into files without a name, judged in a limited process of its own, handed over in parts to be kept.

Whatever goes wrong, and whenever, nothing is left on the disk: a file without a name goes with whoever holds it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import struct
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path

from safelight.errors import Cancelled, Invalid
from safelight.records import AssetKind, InstallRequest, Task
from safelight.service.download import Download
from safelight.service.folder import Folder, is_index
from safelight.service.makers.maker import Made, Order
from safelight.service.nameless import ALONE, Nameless, Parts
from safelight.service.outbound import Outbound, megabytes
from safelight.settings import Settings
from safelight.storage.database import Database, Transaction

JUDGE_SECONDS = 300.0
FIELD = "url"
MOST_HEADER = 10 * 2**20
GAVE_UP = "leads to a file that could not be judged within the time and memory for that"
_KEPT_ENVIRONMENT = ("PATH", "LANG", "LD_LIBRARY_PATH", "TMPDIR")

Checkpoints = Callable[
    [str], AbstractAsyncContextManager[Sequence[Path]]
]  # those that an owner's other models may be for


class Install:
    """``scratch`` is a folder on a disk with room; ``checkpoints`` are those of which whatever is no checkpoint must fit one."""

    task = Task.install_model

    def __init__(
        self, settings: Settings, database: Database, outbound: Outbound, scratch: Path, checkpoints: Checkpoints
    ) -> None:
        self._settings, self._database, self._outbound = settings, database, outbound
        self._scratch, self._checkpoints = scratch, checkpoints
        self._judging = asyncio.Lock()  # a judge may take four gigabytes and minutes of a processor

    async def make(self, order: Order) -> Made:
        request, began = order.request, time.monotonic()
        assert isinstance(request, InstallRequest)
        with Nameless(self._scratch) as model:
            async with _ended_with(order):
                limit = min(await self._room(order.owner), self._settings.max_model_bytes)
                await self._download(request, model, limit, order).run(self._settings.model_seconds)
                await self._judge(request, model, order.owner)
            sizes = {name: size for name, size in model.sizes.items() if name != ALONE}
            parts = Parts([*model.files.values()])
        keep = partial(self._keep, int(order.owner), sizes)
        return Made(
            parts, request.steps_to_run, time.monotonic() - began,
            kinds=[AssetKind.model] * len(parts), keep=keep,
        )  # fmt: skip

    def purge(self, owner: str) -> None:
        """It keeps nothing of anybody."""

    def _download(self, request: InstallRequest, model: Nameless, limit: int, order: Order) -> Download | Folder:
        most = request.steps_to_run - 1  # the last one is the judgement

        def note(done: int, whole: int) -> None:
            order.note(min(most, done * most // whole) if whole else 0, request.steps_to_run)

        if is_index(request.url):
            return Folder(self._outbound, request.url, model, FIELD, limit, note)
        return Download(self._outbound, request.url, model.add(), FIELD, limit, note, _glance)

    async def _room(self, owner: str) -> int:
        row = await self._database.one("models.kept", account=int(owner))
        assert row is not None
        left = self._settings.account_model_bytes - int(row["bytes"])
        if left <= 0:
            raise self._too_much()
        return left

    async def _keep(self, account: int, sizes: Mapping[str, int], tx: Transaction, job_id: int) -> None:
        """``sizes`` of a folder's files tell its parts apart. Of several models installed at the same time, none may be too much."""
        await tx.run("models.lock", account=account)
        if sizes:
            await tx.run("models.list", id=job_id, names=[*sizes], sizes=[*sizes.values()])
        await tx.run("models.announce", id=job_id)
        row = await tx.one("models.kept", account=account)
        if row and row["bytes"] > self._settings.account_model_bytes:
            raise self._too_much()

    def _too_much(self) -> Invalid:
        most = megabytes(self._settings.account_model_bytes)
        return Invalid(FIELD, f"leads to more than there is room for: an account's models may have {most} MB together")

    async def _judge(self, request: InstallRequest, model: Nameless, owner: str) -> None:
        """Raises Invalid. The judge is told where the bytes are, and no name, key or address."""
        place = model.show()
        for name, file in model.files.items():
            if name == ALONE or name.endswith(".safetensors"):
                check_form(os.pread(file.fileno(), 8, 0))
        async with self._judging, self._checkpoints(owner) as checkpoints:
            said = await _ask(request.kind, place, self._settings.components, checkpoints)
        if wrong := said.get("wrong"):
            raise Invalid(FIELD, str(wrong))


def _glance(begins: bytes) -> None:
    """So that nobody waits for gigabytes of what is refused by its beginning. A few bytes alone wait for the rest."""
    if len(begins) >= 8:
        check_form(begins[:8])


def check_form(first: bytes) -> None:
    """What the first eight bytes can tell needs no judge. Lengths come first: one of them begins as a pickle does."""
    length = struct.unpack("<Q", first)[0] if len(first) == 8 else 0
    if 2 <= length <= MOST_HEADER:
        return
    if first.startswith(b"PK"):
        raise Invalid(
            FIELD, "leads to a zip archive, as .ckpt and .pt files are, which can hold code; send safetensors"
        )
    if first.startswith(b"\x80"):
        raise Invalid(FIELD, "leads to a pickle, which can run code; send safetensors")
    raise Invalid(FIELD, "leads to a file that is not a safetensors file: its header is missing or too long")


async def _ask(kind: str, place: Path, lenders: Mapping[str, Path], checkpoints: Sequence[Path]) -> dict[str, object]:
    lent = json.dumps({family: str(folder) for family, folder in lenders.items()})
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "safelight.engine.verdict", kind, str(place), lent, *map(str, checkpoints),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, env=_environment(),
    )  # fmt: skip
    try:
        async with asyncio.timeout(JUDGE_SECONDS):
            told, _ = await process.communicate()
        return dict(json.loads(told))
    except (TimeoutError, ValueError):
        return {"wrong": GAVE_UP}
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in _KEPT_ENVIRONMENT if name in os.environ}
    path = os.pathsep.join(filter(None, sys.path))
    return {**kept, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}


@asynccontextmanager
async def _ended_with(order: Order) -> AsyncIterator[None]:
    """Work that is taken back ends at once, and only what is within."""
    end = asyncio.timeout(None)
    within = True

    def cancel() -> None:
        if within:
            end.reschedule(asyncio.get_running_loop().time())

    try:
        async with end:
            order.when_taken_back(cancel)
            yield
    except TimeoutError:
        if end.expired():
            raise Cancelled from None
        raise
    finally:
        within = False
