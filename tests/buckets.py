"""What an operator of a bucket sees and does: its versions, what was begun in it, and who may do what."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from botocore.session import Session


def versioned(s3: Any, url: str, status: str = "Enabled") -> str:
    s3.put_bucket_versioning(Bucket=bucket_of(url), VersioningConfiguration={"Status": status})
    return url


def bucket_of(url: str) -> str:
    return url.split("/")[2]


def kept(s3: Any, url: str) -> list[tuple[str, str]]:
    """Everything that the bucket has of whatever key: versions, marks, and uploads that were not finished."""
    told = s3.list_object_versions(Bucket=bucket_of(url))
    told |= s3.list_multipart_uploads(Bucket=bucket_of(url))
    return [(kind, each["Key"]) for kind in ("Versions", "DeleteMarkers", "Uploads") for each in told.get(kind, ())]


@contextmanager
def guarded(s3_server: str) -> Iterator[tuple[dict[str, str], Callable[..., None]]]:
    """The environment of somebody who may do everything in S3, and what denies him some of it. Until then nobody is asked who he is."""
    iam = Session().create_client("iam", endpoint_url=s3_server, region_name="us-east-1")
    user = f"user-{secrets.token_hex(4)}"
    iam.create_user(UserName=user)
    key = iam.create_access_key(UserName=user)["AccessKey"]

    def deny(*actions: str) -> None:
        rules = [("Allow", "s3:*"), *(("Deny", f"s3:{action}") for action in actions)]
        told = [{"Effect": effect, "Action": action, "Resource": "*"} for effect, action in rules]
        policy = json.dumps({"Version": "2012-10-17", "Statement": told})
        httpx.post(f"{s3_server}/moto-api/reset-auth", content=b"inf")
        iam.put_user_policy(UserName=user, PolicyName="rules", PolicyDocument=policy)
        httpx.post(f"{s3_server}/moto-api/reset-auth", content=b"0")

    try:
        deny()
        yield {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}, deny
    finally:
        httpx.post(f"{s3_server}/moto-api/reset-auth", content=b"inf")
