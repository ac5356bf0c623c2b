"""Deleted means gone: words and pixels that are nowhere else are given to a running server, deleted by every way there is, and then
looked for in every file and version that it has, and in memory; so are the sealed bytes and the keys to them. Again after a restart, and
again after a copy from before was put back. What the memory of Python's processes keeps: docs/why.md.
"""

from __future__ import annotations

import base64
import io
import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
from PIL import Image

from tests.buckets import bucket_of, versioned
from tests.whole.running import QUICK, Json, Running, command, eventually, serving

pytestmark = pytest.mark.slow

SECONDS = 120  # 60 are promised, of a machine that is not as busy as one that runs tests
PIECE = 2**26  # bytes of memory at a time
SETTINGS = {
    **QUICK,
    "SAFELIGHT_PRIVATE_HOSTS": '["127.0.0.1"]',
    "SAFELIGHT_CLEAR_CACHE_DELETES_OUTPUTS": "true",
}
WORD, PIXELS = f"canary{secrets.token_hex(8)}", secrets.token_bytes(48)  # what all canaries of this run have in common
NAME = f"name{secrets.token_hex(8)}"  # of the account that is closed


class Canary:
    """A word, and a picture of pixels, that are nowhere else."""

    def __init__(self, name: str) -> None:
        self.word = f"{WORD}{name.replace(' ', '')}"
        self.pixels = np.frombuffer(secrets.token_bytes(64 * 64 * 3), np.uint8).reshape(64, 64, 3).copy()
        self.pixels[20, 10:26] = np.frombuffer(PIXELS, np.uint8).reshape(16, 3)

    def png(self) -> bytes:
        file = io.BytesIO()
        Image.fromarray(self.pixels).save(file, "PNG")
        return file.getvalue()

    @property
    def sent(self) -> str:
        return base64.b64encode(self.png()).decode()

    @property
    def everywhere(self) -> Json:
        """The word, wherever a request may hold one."""
        return {"track_id": self.word, "webhook": f"http://127.0.0.1:9/{self.word}"}


# Every kind of request that leaves something behind.


def painted(server: Running, key: str, canary: Canary) -> Json:
    words = {"prompt": f"a cat, {canary.word}", "negative_prompt": canary.word}
    pictures = {"init_image": canary.sent, "mask_image": canary.sent}
    return server.draw("inpaint", key=key, **words, **pictures, **canary.everywhere)


def enlarged(server: Running, key: str, canary: Canary) -> Json:
    return _made(
        server, "v6/image_editing/super_resolution", key=key, init_image=canary.sent, scale=2, **canary.everywhere
    )


def cut_out(server: Running, key: str, canary: Canary) -> Json:
    return _made(server, "v6/image_editing/removebg_mask", key=key, image=canary.sent, **canary.everywhere)


def uploaded(server: Running, key: str, canary: Canary) -> Json:
    return _made(server, "v6/base64_to_url", key=key, base64_string=canary.sent)


def edited(server: Running, key: str, canary: Canary) -> Json:
    """By a file of that name."""
    reply = httpx.post(
        f"{server.url}/v1/images/edits", headers={"Authorization": f"Bearer {key}"}, timeout=90,
        data={"prompt": canary.word, "size": "64x64"}, files={"image": (f"{canary.word}.png", canary.png(), "image/png")},
    )  # fmt: skip
    assert reply.status_code == 200, reply.text
    return {}


def _made(server: Running, path: str, **body: object) -> Json:
    reply = server.post(path, **body)
    reply = reply | server.fetched(reply["id"]) if reply["status"] == "processing" else reply
    assert reply["status"] == "success", reply
    return reply


# Every way to delete.


def by_id(server: Running, key: str, reply: Json) -> None:
    assert server.post("v3/delete_image", key=key, request_id=reply["id"])["status"] == "success"


def by_name(server: Running, key: str, reply: Json) -> None:
    assert server.post("v3/delete_image", key=key, image=reply["output"][0].rpartition("/")[2])["status"] == "success"


def by_address(server: Running, key: str, reply: Json) -> None:
    assert server.post("v3/delete_image", key=key, image=reply["output"][0])["status"] == "success"


def by_batch(server: Running, key: str, reply: Json) -> None:
    tasks = [reply["meta"]["file_prefix"]]
    said = httpx.post(f"{server.url}/v1/images/deleteimagestask", json={"key": key, "taskids": tasks}).json()
    assert said["code"] == 1000, said


def by_expiry(server: Running, _key: str, reply: Json) -> None:
    server.rows(f"UPDATE jobs SET expires_at = now() WHERE id = {int(reply['id'])} RETURNING id")


def by_cache(server: Running, key: str, _reply: Json) -> None:
    assert server.post("v5/clear_cache", key=key)["status"] == "success"


def by_track_id(server: Running, key: str, reply: Json) -> None:
    job = httpx.get(f"{server.url}/v1/jobs/{reply['id']}", headers={"key": key}).json()
    _erased(server, key, track_id=job["request"]["track_id"])


def by_filter(server: Running, key: str, _reply: Json) -> None:
    _erased(server, key, everything=True)


def by_account(server: Running, key: str, _reply: Json) -> None:
    keys = json.loads(command(server.data, "keys", "list", "--json").stdout)
    (name,) = [each["account_name"] for each in keys if key.startswith(each["prefix"])]
    store = psutil.Process(server.process.pid).environ()["SAFELIGHT_BLOB_URL"]
    done = command(server.data, "accounts", "erase", name, "--yes", SAFELIGHT_BLOB_URL=store)
    assert done.returncode == 0, done.stderr


def _erased(server: Running, key: str, **fields: object) -> None:
    receipt = httpx.post(f"{server.url}/v1/erasures", json=fields, headers={"key": key}, timeout=60).json()
    assert (receipt["requests"], receipt["left"]) == (1, 0), receipt


Make = Callable[[Running, str, Canary], Json]
Erase = Callable[[Running, str, Json], None]
CANARIES: dict[str, tuple[Make, Erase]] = {
    "by id": (painted, by_id),
    "by name": (painted, by_name),
    "by address": (painted, by_address),
    "by batch": (painted, by_batch),
    "by expiry": (painted, by_expiry),
    "by track id": (painted, by_track_id),
    "by filter": (painted, by_filter),
    "by cache": (painted, by_cache),
    "by account": (painted, by_account),
    "enlarged": (enlarged, by_id),
    "cut out": (cut_out, by_id),
    "uploaded": (uploaded, by_name),
    "file name": (edited, by_filter),
}


class Folder:
    """Files of the data directory."""

    def __init__(self, data: Path) -> None:
        self.folder = data / "blobs"
        self.url = self.folder.as_uri()

    def all(self) -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in self.folder.rglob("*") if path.is_file()}

    def put_back(self, files: dict[str, bytes]) -> None:
        """The copy of the data directory has them."""


class Bucket:
    """One that keeps versions."""

    def __init__(self, s3: Any, url: str) -> None:
        self.url, self._s3, self._bucket = versioned(s3, url), s3, bucket_of(url)

    def all(self) -> dict[str, bytes]:
        told = self._s3.list_object_versions(Bucket=self._bucket)
        assert not told.get("DeleteMarkers")
        kept = [(each["Key"], each["VersionId"]) for each in told.get("Versions", ())]
        return {f"{key} {version}": self._get(key, version) for key, version in kept}

    def put_back(self, files: dict[str, bytes]) -> None:
        for name, data in files.items():
            self._s3.put_object(Bucket=self._bucket, Key=name.partition(" ")[0], Body=data)

    def _get(self, key: str, version: str) -> bytes:
        data: bytes = self._s3.get_object(Bucket=self._bucket, Key=key, VersionId=version)["Body"].read()
        return data


@dataclass
class Search:
    """What may be found nowhere, by what it is."""

    data: Path
    needles: dict[bytes, str] = field(
        default_factory=lambda: {WORD.encode(): "a word", PIXELS: "pixels", NAME.encode(): "a name"}
    )

    def files(self) -> list[str]:
        """Of the data directory, and of what the server said and logged beside it."""
        paths = [*self.data.rglob("*"), self.data.with_suffix(".log"), self.data.with_suffix(".out")]
        return [hit for path in paths if path.is_file() for hit in self.within(path.read_bytes(), str(path))]

    def store(self, store: Folder | Bucket) -> list[str]:
        return [hit for name, data in store.all().items() for hit in self.within(data, name)]

    def memory(self, processes: list[psutil.Process]) -> list[str]:
        """Only for what requests hold: what the database gave room to may keep the bytes of a row until they are written over."""
        sent = Search(self.data)
        del sent.needles[NAME.encode()]
        return [hit for each in processes for part in _memory(each) for hit in sent.within(part, f"process {each.pid}")]

    def within(self, where: bytes, place: str) -> Iterator[str]:
        for needle, what in self.needles.items():
            if (at := where.find(needle)) >= 0:
                yield f"{what} in {place}: {where[at : at + 60]!r}"


@pytest.mark.parametrize("where", ["folder", "bucket"])
def test_nothing_is_left(data: Path, checkpoint: str, where: str, request: pytest.FixtureRequest) -> None:
    store = Folder(data) if where == "folder" else Bucket(*map(request.getfixturevalue, ("s3", "s3_url")))
    settings = {**SETTINGS, "SAFELIGHT_MODEL": checkpoint, "SAFELIGHT_BLOB_URL": store.url}
    search = Search(data)
    with serving(data, **settings) as server:
        server.wait_ready(300)
        made = {name: made_by(server, name, search) for name in CANARIES}
        settings["key"] = server.key
        search.needles |= sealed(store) | keys_of(server)
        assert server.stop() == 0
    before, copy = store.all(), copied(data)
    assert {hit.partition(" in ")[0] for hit in search.files()} - {"sealed bytes"} == {"a wrapped key", "a name"}
    assert search.store(store), "this search would find nothing"
    with serving(data, **settings) as server:
        server.wait_ready(300)
        for name, (_, erase) in CANARIES.items():
            erase(server, *made[name])
        eventually(lambda: all_verified(server), SECONDS, "every receipt to be verified")
        assert (search.files(), search.store(store)) == ([], [])
        assert search.memory([server.postmaster(), *server.postmaster().children()]) == []
        assert server.stop() == 0
    assert (search.files(), search.store(store)) == ([], [])
    with serving(data, "--workers", "0", **settings) as again:
        main = psutil.Process(again.process.pid)
        assert (search.files(), search.memory([main, *main.children(recursive=True)])) == ([], [])
        assert again.stop() == 0
    put_back(copy, data)
    store.put_back(before)
    assert search.store(store)
    with serving(data, "--workers", "0", **settings) as restored:
        eventually(lambda: all_verified(restored), SECONDS, "every receipt to be verified again")
        assert (search.files(), search.store(store)) == ([], [])
        assert restored.stop() == 0
    assert search.files() == []


def made_by(server: Running, name: str, search: Search) -> tuple[str, Json]:
    """With a key of its own, which is nowhere to be found either."""
    account = f"{NAME} & Sons" if name == "by account" else name
    key = json.loads(command(server.data, "keys", "create", account, "--json").stdout)["key"]
    search.needles[key.encode()] = "a key"
    return key, CANARIES[name][0](server, key, Canary(name))


def sealed(store: Folder | Bucket) -> dict[bytes, str]:
    return {data[32:80]: "sealed bytes" for name, data in store.all().items() if "house/" not in name}


def keys_of(server: Running) -> dict[bytes, str]:
    return {bytes(wrapped): "a wrapped key" for (wrapped,) in server.rows("SELECT wrapped FROM request_keys")}


def all_verified(server: Running) -> bool:
    (row,) = server.rows("SELECT count(*) FILTER (WHERE verified_at IS NULL), count(*) FROM receipts")
    return bool(row[0] == 0 and row[1] >= len(CANARIES))


def copied(data: Path) -> Path:
    """With the owners of all files, of whom one may be lent to the database."""
    copy = data.with_name("copy")
    subprocess.run(["cp", "-a", str(data), str(copy)], check=True)
    return copy


def put_back(copy: Path, data: Path) -> None:
    """All but the log of deletions, as docs/how-to/backup.md says."""
    for part in ("postgres", "blobs"):
        if (copy / part).exists():
            shutil.rmtree(data / part)
            subprocess.run(["cp", "-a", str(copy / part), str(data / part)], check=True)


def _memory(process: psutil.Process) -> Iterator[bytes]:
    """All that may be written to and is there, in pieces that overlap; a process that ends meanwhile has none."""
    try:
        spans = list(_spans(Path(f"/proc/{process.pid}/maps").read_text()))
        with Path(f"/proc/{process.pid}/mem").open("rb", buffering=0) as memory:
            for start, end in spans:
                for at in range(start, end, PIECE):
                    yield os.pread(memory.fileno(), min(PIECE + 64, end - at), at)
    except (ProcessLookupError, FileNotFoundError):
        return


def _spans(maps: str) -> Iterator[tuple[int, int]]:
    for span, rights, *rest in map(str.split, maps.splitlines()):
        if rights.startswith("rw") and not rest[-1].startswith("[v"):
            start, end = (int(each, 16) for each in span.split("-"))
            yield start, end
