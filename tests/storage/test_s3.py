"""A bucket that keeps what is deleted: nothing of a key may be left in it, and what is not allowed is named."""

from __future__ import annotations

import asyncio
import io
import sys
from pathlib import Path
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse

from safelight import doctor
from safelight.errors import SafelightError, SetupFailed, Unavailable
from safelight.settings import read_settings
from safelight.storage.blobs import new_key, open_blobs
from safelight.storage.s3 import S3Blobs
from tests.buckets import bucket_of, guarded, kept, versioned

pytestmark = pytest.mark.anyio

NEEDED = (
    "ListBucketVersions",
    "DeleteObjectVersion",
    "ListBucketMultipartUploads",
    "AbortMultipartUpload",
    "ListMultipartUploadParts",
)


async def test_every_version_and_every_mark_of_a_key_goes(s3: Any, s3_url: str) -> None:
    blobs, key, other = open_blobs(versioned(s3, s3_url)), new_key("output", ".png"), new_key("output", ".png")
    for data in (b"first", b"second"):
        await blobs.put(key, data)
        await blobs.put(other, data)
    s3.delete_object(Bucket=bucket_of(s3_url), Key=f"some/prefix/{key}")
    assert not await blobs.exists(key)
    assert await blobs.left(key)
    assert {found.size async for page in blobs.pages() for found in page if found.key == key} == {None}
    versioned(s3, s3_url, "Suspended")
    await blobs.put(key, b"without a version")
    await blobs.delete(key)
    assert not await blobs.left(key)
    assert kept(s3, s3_url) == [("Versions", f"some/prefix/{other}")] * 2
    await blobs.delete(other)
    assert kept(s3, s3_url) == []


async def test_parts_of_an_upload_that_was_never_finished_go(s3: Any, s3_url: str) -> None:
    blobs, key = open_blobs(s3_url), new_key("model", ".part")
    named = {"Bucket": bucket_of(s3_url), "Key": f"some/prefix/{key}"}
    upload = s3.create_multipart_upload(**named)["UploadId"]
    s3.upload_part(**named, UploadId=upload, PartNumber=1, Body=b"a part")
    assert await blobs.left(key)
    await blobs.delete(key)
    assert not await blobs.left(key)
    assert kept(s3, s3_url) == []


async def test_a_store_that_knows_no_versions(s3_url: str) -> None:
    blobs, key = open_blobs(s3_url), new_key("output", ".png")
    assert isinstance(blobs, S3Blobs)
    for call in ("ListObjectVersions", "ListMultipartUploads"):
        blobs._client.meta.events.register(f"before-send.s3.{call}", _not_implemented)
    await blobs.put(key, b"data")
    assert await blobs.left(key)
    assert await blobs.keys() == {key}
    await blobs.delete(key)
    assert not await blobs.left(key)
    assert await blobs.keys() == set()


def _not_implemented(**_: object) -> AWSResponse:
    said = io.BytesIO(b"<Error><Code>NotImplemented</Code><Message>no such call here</Message></Error>")
    said.stream = lambda: [said.getvalue()]  # type: ignore[attr-defined]  # as urllib3's are read
    return AWSResponse("", 501, {}, said)


async def test_the_doctor_names_what_is_not_allowed(
    s3_server: str, s3_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = read_settings(data_dir=tmp_path, blob_url=s3_url)
    with guarded(s3_server) as (somebody, deny):
        for name, value in somebody.items():
            monkeypatch.setenv(name, value)
        assert "nothing of it is left" in await asyncio.to_thread(doctor.blob_store, settings)
        for action in NEEDED:
            deny(action)
            with pytest.raises(SafelightError, match=rf"does not allow .*s3:{action}"):
                await asyncio.to_thread(doctor.blob_store, settings)


async def test_what_cannot_be_removed_for_good_cannot_be_read_at_least(
    s3: Any, s3_server: str, s3_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = new_key("output", ".png")
    await open_blobs(versioned(s3, s3_url)).put(key, b"data")
    with guarded(s3_server) as (somebody, deny):
        for name, value in somebody.items():
            monkeypatch.setenv(name, value)
        deny("DeleteObjectVersion")
        blobs = open_blobs(s3_url)
        with pytest.raises(Unavailable):
            await blobs.delete(key)
        assert not await blobs.exists(key)
        assert await blobs.left(key)


async def test_a_server_that_is_not_there(monkeypatch: pytest.MonkeyPatch, s3_url: str) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(Unavailable):
        await open_blobs(s3_url).left(new_key("output", ".png"))


def test_without_botocore_a_bucket_is_refused(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "safelight.storage.s3")
    monkeypatch.setitem(sys.modules, "botocore.session", None)
    with pytest.raises(SetupFailed, match=r"pip install 'safelight\[s3\]'"):
        open_blobs(s3_url)
