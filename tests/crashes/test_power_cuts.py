"""What was answered outlives a power cut: bytes that were not synced are taken from the disk, and the invariants asked of what is left.

PostgreSQL syncs by itself (``fsync`` and ``synchronous_commit`` are on); files beside it are the server's own to sync.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from safelight.storage import blobs
from safelight.storage.blobs import open_blobs
from safelight.storage.invariants import broken
from tests.house import House, a_bitmap

pytestmark = pytest.mark.anyio


class Disk:
    """The least that the file system owes: a file's bytes once it was synced, its name once its folder was."""

    def __init__(self) -> None:
        self._sync, self._lock = os.fsync, threading.Lock()
        self._bytes: dict[int, bytes] = {}
        self._names: dict[Path, dict[str, int]] = {}

    def fsync(self, handle: int) -> None:
        with self._lock:
            self._sync(handle)
            path = Path(f"/proc/self/fd/{handle}").readlink()
            if path.is_dir():
                self._names[path] = {each.name: each.stat().st_ino for each in path.iterdir()}
            else:
                self._bytes[path.stat().st_ino] = path.read_bytes()

    def after_a_cut(self, folder: Path, left: Path) -> Path:
        """What is left of that folder, under another name."""
        left.mkdir()
        for name, node in self._names.get(folder, {}).items():
            if node in self._bytes:
                (left / name).write_bytes(self._bytes[node])
            elif folder / name in self._names:
                self.after_a_cut(folder / name, left / name)
        return left


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    made = Disk()
    monkeypatch.setattr(os, "fsync", made.fsync)
    return made


async def test_what_was_answered_outlives_a_power_cut(house: House, disk: Disk, tmp_path: Path) -> None:
    async def holds(when: str) -> None:
        left = disk.after_a_cut(house.settings.data_dir / "blobs", tmp_path / when)
        assert await broken(house.database, open_blobs(left.as_uri())) == {}, when

    async with house.working():
        job = await house.submit(init=a_bitmap())
        await house.finished(job)
        await holds("made")
        await house.services.assets.upload(house.account, a_bitmap())
        await holds("uploaded")
        receipt = await house.services.erasure.delete(house.account, [job.id])
        await house.reconciler.keep_up()
        await holds("deleted")
    log = house.settings.deletion_log_path
    left = disk.after_a_cut(log.parent, tmp_path / "log") / log.name
    assert left.read_bytes() == log.read_bytes()
    assert str(receipt.id) in left.read_text()


async def test_a_folder_that_nobody_syncs_is_noticed(
    house: House, disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blobs, "sync", lambda folder: None)
    await house.services.assets.upload(house.account, a_bitmap())
    left = disk.after_a_cut(house.settings.data_dir / "blobs", tmp_path / "left")
    assert list(await broken(house.database, open_blobs(left.as_uri()))) == ["I2 a live row without bytes"]
