"""Pictures' bytes in a bucket of S3's, where what is deleted may stay: as an older version, under a mark that it was deleted, or as an
upload that was never finished. Bytes come and go by obstore, which knows one version of a key; all that a bucket keeps of it is found
and removed by botocore.
"""

from __future__ import annotations

import asyncio
import heapq
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from operator import itemgetter
from typing import Any, TypeVar

from botocore.client import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session
from obstore.store import S3Store

from safelight.errors import Unavailable
from safelight.storage.blobs import KEY, PAGE, Found, RemoteBlobs

Result = TypeVar("Result")
Entry = dict[str, Any]

# What must be allowed for a call, where it has another name.
PERMISSIONS = {
    "ListObjectVersions": "s3:ListBucketVersions",
    "ListMultipartUploads": "s3:ListBucketMultipartUploads",
    "ListParts": "s3:ListMultipartUploadParts",
    "CreateMultipartUpload": "s3:PutObject",
    "DeleteObject": "s3:DeleteObject and s3:DeleteObjectVersion",
}
REFUSED, NOT_HERE = {"AccessDenied", "403"}, {"NotImplemented", "501"}
ABORTS = 3  # a part that was on its way when its upload was aborted may still arrive


class S3Blobs(RemoteBlobs):
    """A bucket, and everything that it keeps of a key."""

    def __init__(self, store: S3Store) -> None:
        super().__init__(store)
        self._bucket, self._prefix = store.config["bucket"], f"{store.prefix}/" if store.prefix else ""
        self._client = _client(self._bucket)

    async def delete(self, key: str) -> None:
        try:
            await self._do(self._remove_all, self._prefix + key)
        except Unavailable:
            await super().delete(key)  # so that it cannot be read, at least
            raise

    async def left(self, key: str) -> bool:
        return bool(await self._do(self._of, self._prefix + key))

    async def pages(self) -> AsyncIterator[list[Found]]:
        entries = self._entries(self._prefix)
        while page := await self._do(lambda: list(islice(entries, PAGE))):
            found = [_found(each, self._prefix) for each in page]
            yield [each for each in found if KEY.fullmatch(each.key)]

    async def leave_half(self, key: str) -> None:
        await self._do(lambda: self._client.create_multipart_upload(Bucket=self._bucket, Key=self._prefix + key))

    async def _do(self, call: Callable[..., Result], *values: object) -> Result:
        with _answered(self._bucket):
            return await asyncio.to_thread(call, *values)

    def _remove_all(self, name: str) -> None:
        for each in self._of(name):
            if "UploadId" in each:
                self._abort(name, each["UploadId"])
            else:
                version = {"VersionId": each["VersionId"]} if "VersionId" in each else {}
                self._client.delete_object(Bucket=self._bucket, Key=name, **version)

    def _abort(self, name: str, upload: str) -> None:
        named = {"Bucket": self._bucket, "Key": name, "UploadId": upload}
        try:
            for _ in range(ABORTS):
                self._client.abort_multipart_upload(**named)
                if not self._client.list_parts(**named).get("Parts"):
                    return
        except self._client.exceptions.NoSuchUpload:
            return

    def _of(self, name: str) -> list[Entry]:
        return [each for each in self._entries(name) if each["Key"] == name]

    def _entries(self, prefix: str) -> Iterator[Entry]:
        return heapq.merge(self._versions(prefix), self._uploads(prefix), key=itemgetter("Key"))

    def _versions(self, prefix: str) -> Iterator[Entry]:
        """Of a store without versions, what it has."""
        try:
            yield from self._listed("list_object_versions", prefix, "Versions", "DeleteMarkers")
        except NotImplementedError:
            yield from self._listed("list_objects_v2", prefix, "Contents")

    def _uploads(self, prefix: str) -> Iterator[Entry]:
        try:
            yield from self._listed("list_multipart_uploads", prefix, "Uploads")
        except NotImplementedError:
            return

    def _listed(self, call: str, prefix: str, *fields: str) -> Iterator[Entry]:
        try:
            for page in self._client.get_paginator(call).paginate(Bucket=self._bucket, Prefix=prefix):
                yield from sorted((each for field in fields for each in page.get(field, ())), key=itemgetter("Key"))
        except ClientError as error:
            raise NotImplementedError(call) if _code(error) in NOT_HERE else error from error


def _client(bucket: str) -> Any:
    """Of the same environment as obstore's."""
    given = os.environ.get
    virtual = given("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "").lower() in ("true", "1", "yes", "on", "y", "t")
    endpoint = given("AWS_ENDPOINT_URL_S3") or given("AWS_ENDPOINT_URL") or given("AWS_ENDPOINT") or ""
    return Session().create_client(
        "s3",
        endpoint_url=endpoint.replace(f"//{bucket}.", "//", 1) or None,
        region_name=given("AWS_REGION") or given("AWS_DEFAULT_REGION") or "us-east-1",
        config=Config(
            connect_timeout=5, read_timeout=30, retries={"mode": "standard"}, request_checksum_calculation="when_required",
            s3={"addressing_style": "virtual" if virtual else "path"},
        ),
    )  # fmt: skip


def _found(entry: Entry, prefix: str) -> Found:
    """Only the newest version can be read, and that only where it is no mark and no upload."""
    size = entry.get("Size") if entry.get("IsLatest", True) else None
    return Found(entry["Key"].removeprefix(prefix), size, entry.get("LastModified") or entry["Initiated"])


@contextmanager
def _answered(bucket: str) -> Iterator[None]:
    """The edge of this room: what is refused is named by what must be allowed."""
    try:
        yield
    except ClientError as error:
        if _code(error) not in REFUSED:
            raise Unavailable from error
        wanted = PERMISSIONS.get(error.operation_name, f"s3:{error.operation_name}")
        raise Unavailable(
            f"The bucket {bucket} does not allow {wanted}. Without it nothing of a deleted picture can be said to be gone."
        ) from error
    except BotoCoreError as error:
        raise Unavailable from error


def _code(error: ClientError) -> str:
    return str(error.response["Error"]["Code"])
