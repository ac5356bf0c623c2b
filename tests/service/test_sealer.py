"""A house of the version before sealing: all of it stays readable, is sealed by and by, and what was erased stays erased."""

from __future__ import annotations

import json
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from safelight.errors import NotFound
from safelight.records import JobState
from safelight.service.requests import to_json
from safelight.settings import read_settings
from safelight.storage.blobs import new_key, open_blobs
from safelight.storage.migrate import migrate
from safelight.storage.postgres import EmbeddedPostgres
from tests.house import House, a_bitmap, a_request, open_house
from tests.invariants import check_invariants
from tests.service.rows import count

pytestmark = pytest.mark.anyio

BEFORE = "0009"
ACCOUNT = "INSERT INTO accounts (name, webhook_secret) VALUES ('tester', '') RETURNING id"
JOB = """
    INSERT INTO jobs (id, account_id, state, file_prefix, rank, cost, steps, finished_at, attempt, fence, task_id, erased_at, receipt_id)
    VALUES (%(id)s, 1, %(state)s, gen_random_uuid()::text, 0, 1, 4, now(), 1, %(id)s, NULL, %(erased)s, %(receipt)s)"""
ASSET = """
    INSERT INTO assets (account_id, request_id, kind, state, name, blob_key, fence, size, sha256, created_at)
    VALUES (1, %(id)s, %(kind)s, 'live', %(name)s, %(key)s, %(fence)s, %(size)s, %(sha)s, now() - interval '2 days')"""
WORDS = f"CANARY{secrets.token_hex(12)}"


async def furnish(url: str, blobs_url: str) -> None:
    """Two pictures with their inputs, an upload, and a request that was erased."""
    blobs = open_blobs(blobs_url)
    body = json.dumps(to_json(a_request(WORDS, samples=1)))
    with psycopg.connect(url) as db:
        db.execute(ACCOUNT)
        receipt = "7b1c6a52-53c8-4d1b-8a5e-0d7a0c7f3a11"
        db.execute("INSERT INTO receipts (id, account_id, scope, request_ids) VALUES (%s, 1, 'job', '{13}')", [receipt])
        for number in (11, 12, 13):
            erased = number == 13
            db.execute(JOB, {
                "id": number, "state": "succeeded", "erased": "2026-01-01" if erased else None, "receipt": receipt if erased else None,
            })  # fmt: skip
            db.execute(
                "INSERT INTO usage (job_id, account_id, pictures, cost, seconds) VALUES (%s, 1, 1, 1, 1)", [number]
            )
            if not erased:
                db.execute("INSERT INTO requests (job_id, body) VALUES (%s, %s)", [number, body])
        files = [
            (11, "output", 11),
            (12, "output", 12),
            (11, "init_image", 0),
            (11, "mask_image", 0),
            (14, "upload", 0),
        ]
        for number, kind, fence in files:
            key, data = new_key(kind, ".png"), a_bitmap(number).png
            await blobs.put(key, data)
            db.execute(ASSET, {
                "id": number, "kind": kind, "fence": fence, "key": key, "size": len(data), "sha": "f" * 64, "name": f"{kind}{number}.png",
            })  # fmt: skip


@pytest.fixture
def old_server(data_dir: Path) -> Iterator[str]:
    server = EmbeddedPostgres(data_dir)
    url = server.start()
    try:
        migrate(url, BEFORE)
        yield url
    finally:
        server.stop()


async def test_an_older_house_is_sealed_while_it_is_read(old_server: str, data_dir: Path) -> None:
    settings = read_settings(data_dir=data_dir, database_url=old_server, heartbeat_seconds=0.2, stalled_seconds=1.0)
    await furnish(old_server, settings.blobs_url)
    migrate(old_server)
    async with open_house(settings) as house:
        assert hits(WORDS, data_dir), "the words were never in the files: this test would prove nothing"
        await readable(house)
        await house.reconciler.keep_up()
        await readable(house)
        assert (
            await count(house, "requests WHERE body IS NOT NULL")
            == await count(house, "assets WHERE state = 'live' AND NOT sealed")
            == 0
        )
        assert await count(house, "assets WHERE state = 'live' AND created_at < now() - interval '1 day'") == 5
        await house.reconciler.keep_up()
        assert hits(WORDS, data_dir) == []
        assert hits("f" * 64, data_dir) == []
        assert hits("IHDR", data_dir / "blobs") == []
        await check_invariants(house.database, house.blobs)
        receipt = await house.services.erasure.delete(house.account, [11, 14])
        assert receipt.assets == 4
        assert len(await house.blobs.keys()) == 1
        await check_invariants(house.database, house.blobs)


async def test_what_is_erased_before_it_was_sealed_is_gone_all_the_same(old_server: str, data_dir: Path) -> None:
    settings = read_settings(data_dir=data_dir, database_url=old_server, heartbeat_seconds=0.2, stalled_seconds=1.0)
    await furnish(old_server, settings.blobs_url)
    migrate(old_server)
    async with open_house(settings) as house:
        receipt = await house.services.erasure.delete(house.account, [11, 12, 14])
        assert receipt.assets == 5
        await house.reconciler.keep_up()
        assert hits(WORDS, data_dir) == []
        assert await house.blobs.keys() == set()
        assert (await house.services.erasure.receipt(house.account, receipt.id)).verified_at is not None
        await check_invariants(house.database, house.blobs)


async def readable(house: House) -> None:
    for number in (11, 12):
        job = await house.services.jobs.get(house.account, number)
        assert (job.state, job.outputs) == (JobState.succeeded, 1)
        assert job.request == a_request(WORDS, samples=1)
    for kind, number in (("output", 11), ("output", 12), ("upload", 14)):
        assert (await house.services.assets.open(f"{kind}{number}.png"))[1] == a_bitmap(number).png
    with pytest.raises(NotFound):
        await house.services.jobs.get(house.account, 13)


def hits(words: str, folder: Path) -> list[str]:
    found = subprocess.run(["grep", "-rlaF", words, str(folder)], capture_output=True, text=True, check=False)
    return found.stdout.split()
