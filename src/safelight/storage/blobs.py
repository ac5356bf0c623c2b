"""Where pictures' bytes rest: a local folder by default, S3, GCS or Azure by URL. Knows nothing of what the bytes are.

Names come from our own rows only, and even so are checked. A local file is on the disk, name and all, before ``put`` returns,
and its absence is before ``delete`` does: obstore's own local store syncs neither, so the folder is written here.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol, TypeVar
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import ObjectStore, from_url

from safelight.errors import SetupFailed, Unavailable
from safelight.storage.disk import make_folder, sync

Result = TypeVar("Result")

KEY = re.compile(r"[a-z_]+/[0-9a-f]{2}/[0-9a-f]{32}\.[a-z0-9]+")


def new_key(kind: str, suffix: str) -> str:
    """A name that nobody can guess, in one of 256 folders."""
    token = secrets.token_hex(16)
    return f"{kind}/{token[:2]}/{token}{suffix}"


class Blobs(Protocol):
    """A key is written once. Deleting what is not there succeeds; reading it raises FileNotFoundError."""

    async def put(self, key: str, data: bytes) -> None: ...
    async def get(self, key: str) -> bytes: ...
    async def delete(self, key: str) -> None: ...
    async def exists(self, key: str) -> bool: ...
    async def sizes(self) -> dict[str, int]: ...
    async def keys(self) -> set[str]: ...


def open_blobs(url: str) -> Blobs:
    """Raises SetupFailed where the URL names no store."""
    parts = urlsplit(url)
    if parts.scheme == "file" and parts.netloc in {"", "localhost"}:
        return LocalBlobs(Path(unquote(parts.path)))
    try:
        return RemoteBlobs(from_url(url))
    except (BaseError, ValueError) as error:
        raise SetupFailed(
            f"The blob store {url} cannot be used: {error}. Expected file://, s3://, gs:// or az://."
        ) from error


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
        return await self._do(_there, self._path(key))

    async def sizes(self) -> dict[str, int]:
        return await self._do(lambda: dict(_files(self._folder)))

    async def keys(self) -> set[str]:
        return set(await self.sizes())

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

    async def sizes(self) -> dict[str, int]:
        with _answered():
            return {found["path"]: found["size"] async for page in obstore.list(self._store) for found in page}

    async def keys(self) -> set[str]:
        return set(await self.sizes())


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
    return path.with_name(path.name + ".part")


def _write(path: Path, data: bytes) -> None:
    make_folder(path.parent)
    with _part(path).open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    _part(path).rename(path)
    sync(path.parent)


def _remove(path: Path) -> None:
    """A half-written file of the same name goes too."""
    for each in (_part(path), path):
        each.unlink(missing_ok=True)
    if path.parent.is_dir():
        sync(path.parent)


def _files(folder: Path) -> Iterator[tuple[str, int]]:
    """Each with its size; one that goes away meanwhile is left out."""
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):
            if path.is_file():
                yield str(path.relative_to(folder)), path.stat().st_size


def _there(path: Path) -> bool:
    return path.exists() or _part(path).exists()
