"""Where pictures' bytes rest: a local folder by default, S3, GCS or Azure by URL. Knows nothing of what the bytes are.

Names come from our own rows only, and even so are checked. A local file is on the disk, name and all, before ``put`` returns,
and its absence is before ``delete`` does: obstore's own local store syncs neither, so the folder is written here.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Protocol, TypeVar
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import ObjectStore, S3Store, from_url

from safelight.errors import SetupFailed, Unavailable
from safelight.storage.disk import make_folder, sync

Result = TypeVar("Result")

KEY = re.compile(r"[a-z_]+/[0-9a-f]{2}/[0-9a-f]{32}\.[a-z0-9]+")
PAGE = 1000  # what stores list at once
HALF = ".part"  # ends the name of what is not yet all written


def new_key(kind: str, suffix: str) -> str:
    """A name that nobody can guess, in one of 256 folders."""
    token = secrets.token_hex(16)
    return f"{kind}/{token[:2]}/{token}{suffix}"


@dataclass(frozen=True, slots=True)
class Found:
    """What a store has under a key. Without a size it cannot be read: half-written, an older version, or a mark that it was deleted."""

    key: str
    size: int | None
    at: datetime


class Blobs(Protocol):
    """A key is written once. Deleting what is not there succeeds; reading it raises FileNotFoundError.

    ``delete`` also takes what cannot be read any more, such as older versions, and ``left`` says whether anything is.
    ``pages`` is everything under names like ours, in the order of the keys; there may be several of one key.
    ``leave_half`` begins to write and goes no further, as a crash would.
    """

    async def put(self, key: str, data: bytes) -> None: ...
    async def get(self, key: str) -> bytes: ...
    async def delete(self, key: str) -> None: ...
    async def exists(self, key: str) -> bool: ...
    async def left(self, key: str) -> bool: ...
    def pages(self) -> AsyncIterator[list[Found]]: ...
    async def keys(self) -> set[str]: ...
    async def leave_half(self, key: str) -> None: ...


def open_blobs(url: str) -> Blobs:
    """Raises SetupFailed where the URL names no store."""
    parts = urlsplit(url)
    if parts.scheme == "file" and parts.netloc in {"", "localhost"}:
        return LocalBlobs(Path(unquote(parts.path)))
    try:
        store = from_url(url)
    except (BaseError, ValueError) as error:
        raise SetupFailed(
            f"The blob store {url} cannot be used: {error}. Expected file://, s3://, gs:// or az://."
        ) from error
    return _versioned(store) if isinstance(store, S3Store) else RemoteBlobs(store)


class LocalBlobs:
    """A folder of this machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def put(self, key: str, data: bytes) -> None:
        await self._do(_write, self._path(key), data)

    async def get(self, key: str) -> bytes:
        return await self._do(self._path(key).read_bytes)

    async def delete(self, key: str) -> None:
        await self._do(_remove, self._path(key))

    async def exists(self, key: str) -> bool:
        return await self._do(self._path(key).exists)

    async def left(self, key: str) -> bool:
        return await self._do(_there, self._path(key))

    async def pages(self) -> AsyncIterator[list[Found]]:
        files = _files(self._folder, self._folder)
        while page := await self._do(lambda: list(islice(files, PAGE))):
            yield page

    async def keys(self) -> set[str]:
        return {found.key async for page in self.pages() for found in page}

    async def leave_half(self, key: str) -> None:
        await self._do(_write_half, self._path(key), b"")

    def _path(self, key: str) -> Path:
        return self._folder / _checked(key)

    async def _do(self, call: Callable[..., Result], *values: object) -> Result:
        with _answered():
            return await asyncio.to_thread(call, *values)


class RemoteBlobs:
    """A bucket, by obstore."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    async def put(self, key: str, data: bytes) -> None:
        with _answered():
            await obstore.put_async(self._store, _checked(key), data)

    async def get(self, key: str) -> bytes:
        with _answered():
            return bytes(await (await obstore.get_async(self._store, _checked(key))).bytes_async())

    async def delete(self, key: str) -> None:
        with _answered(), suppress(FileNotFoundError):
            await obstore.delete_async(self._store, _checked(key))

    async def exists(self, key: str) -> bool:
        with _answered(), suppress(FileNotFoundError):
            await obstore.head_async(self._store, _checked(key))
            return True
        return False

    async def left(self, key: str) -> bool:
        return await self.exists(key)

    async def pages(self) -> AsyncIterator[list[Found]]:
        with _answered():
            async for page in obstore.list(self._store, chunk_size=PAGE):
                found = [Found(each["path"], each["size"], each["last_modified"]) for each in page]
                yield [each for each in found if KEY.fullmatch(each.key)]

    async def keys(self) -> set[str]:
        return {found.key async for page in self.pages() for found in page}

    async def leave_half(self, key: str) -> None:
        """These stores clear away by themselves what was begun, or by a rule of their operator's."""


def _versioned(store: S3Store) -> Blobs:
    try:
        from safelight.storage.s3 import S3Blobs
    except ModuleNotFoundError as error:
        raise SetupFailed(
            "A store at s3:// needs botocore, to remove every version of what is deleted: pip install 'safelight[s3]'."
        ) from error
    return S3Blobs(store)


def _checked(key: str) -> str:
    assert KEY.fullmatch(key), "a blob's key comes from our own rows"
    return key


@contextmanager
def _answered() -> Iterator[None]:
    """The edge of this room: a store that does not answer becomes Unavailable. That a file is missing is an answer."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (BaseError, OSError) as error:
        raise Unavailable from error


def _part(path: Path) -> Path:
    return path.with_name(path.name + HALF)


def _write(path: Path, data: bytes) -> None:
    _write_half(path, data)
    _part(path).rename(path)
    sync(path.parent)


def _write_half(path: Path, data: bytes) -> None:
    make_folder(path.parent)
    with _part(path).open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _remove(path: Path) -> None:
    """A half-written file of the same name goes too."""
    for each in (_part(path), path):
        each.unlink(missing_ok=True)
    if path.parent.is_dir():
        sync(path.parent)


def _files(folder: Path, under: Path) -> Iterator[Found]:
    """In the order of their names; one that goes away meanwhile is left out."""
    for path in sorted(under.iterdir()) if under.is_dir() else ():
        with suppress(FileNotFoundError):
            if path.is_dir():
                yield from _files(folder, path)
            elif found := _found(str(path.relative_to(folder)), path.stat()):
                yield found


def _found(name: str, stat: os.stat_result) -> Found | None:
    at = datetime.fromtimestamp(stat.st_mtime, UTC)
    if KEY.fullmatch(name):
        return Found(name, stat.st_size, at)
    half = name.removesuffix(HALF)
    return Found(half, None, at) if KEY.fullmatch(half) else None


def _there(path: Path) -> bool:
    return path.exists() or _part(path).exists()
