"""The same promises from a local folder and from S3, and the order of a local write on the disk."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import pytest

from safelight.errors import SetupFailed, Unavailable
from safelight.storage.blobs import Blobs, new_key, open_blobs

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["file", "s3"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    if request.param == "file":
        return open_blobs((tmp_path / "blobs with space").as_uri())
    return open_blobs(request.getfixturevalue("s3_url"))


async def test_put_get_delete(blobs: Blobs) -> None:
    key, data = new_key("output", ".png"), secrets.token_bytes(100_000)
    assert not await blobs.exists(key)
    await blobs.put(key, data)
    assert await blobs.exists(key)
    assert await blobs.left(key)
    assert await blobs.get(key) == data
    assert await blobs.keys() == {key}
    await blobs.delete(key)
    assert not await blobs.exists(key)
    assert not await blobs.left(key)
    assert await blobs.keys() == set()
    with pytest.raises(FileNotFoundError):
        await blobs.get(key)


async def test_a_put_may_be_repeated_and_a_delete_too(blobs: Blobs) -> None:
    key = new_key("output", ".png")
    await blobs.put(key, b"once")
    await blobs.put(key, b"once")
    await blobs.delete(key)
    await blobs.delete(key)
    assert await blobs.keys() == set()


async def test_names_that_are_none_of_ours(blobs: Blobs) -> None:
    for key in ("../../etc/passwd", "/etc/passwd", "output/aa/../../x.png", "output/aa/" + "a" * 32 + ".png/.."):
        with pytest.raises(AssertionError):
            await blobs.get(key)


async def test_a_file_is_synced_before_it_has_its_name_and_the_name_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    sync, rename = os.fsync, Path.rename

    def seen_sync(handle: int) -> None:
        seen.append(f"sync {Path(f'/proc/self/fd/{handle}').readlink().name}")
        sync(handle)

    def seen_rename(path: Path, target: Path) -> Path:
        seen.append(f"rename {target.name}")
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", seen_sync)
    monkeypatch.setattr(Path, "rename", seen_rename)
    key = new_key("output", ".png")
    await open_blobs(tmp_path.as_uri()).put(key, b"data")
    name, folder = key.rpartition("/")[2], key.split("/")[1]
    assert seen[-3:] == [f"sync {name}.part", f"rename {name}", f"sync {folder}"]
    assert seen[:-3] == [f"sync {tmp_path.name}", "sync output"]


async def test_what_is_half_written_cannot_be_read_is_found_and_can_be_deleted(blobs: Blobs) -> None:
    key = new_key("output", ".png")
    await blobs.leave_half(key)
    assert await blobs.left(key)
    assert not await blobs.exists(key)
    assert [(found.key, found.size) async for page in blobs.pages() for found in page] == [(key, None)]
    await blobs.delete(key)
    assert not await blobs.left(key)


async def test_all_is_listed_in_the_order_of_the_keys(blobs: Blobs) -> None:
    written = {new_key(kind, ".png"): size for size, kind in enumerate(("output", "upload", "init_image") * 4, 1)}
    for key, size in written.items():
        await blobs.put(key, bytes(size))
    assert [(found.key, found.size) async for page in blobs.pages() for found in page] == sorted(written.items())


async def test_a_store_that_does_not_answer_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "blobs").write_text("a file in the way")
    with pytest.raises(Unavailable):
        await open_blobs((tmp_path / "blobs").as_uri()).put(new_key("output", ".png"), b"data")


async def test_an_address_that_names_no_store() -> None:
    with pytest.raises(SetupFailed, match="Expected file://"):
        open_blobs("nonsense")
