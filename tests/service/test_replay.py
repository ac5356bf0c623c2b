"""A copy of the database and the pictures is restored: what was deleted since does not come back, by the log of deletions."""

from __future__ import annotations

import asyncio
import re
import shutil
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from safelight import doctor
from safelight.errors import NotFound, SafelightError, SetupFailed, Unavailable
from safelight.records import AssetKind, JobState
from safelight.settings import Settings
from safelight.storage.deletion_log import Deletion, DeletionLog, mark_of
from tests.house import House, a_bitmap, a_request, open_house
from tests.invariants import check_invariants
from tests.service.rows import count, rows
from tests.service.test_erasure import finished_jobs
from tests.whole.running import eventually

pytestmark = pytest.mark.anyio


class Copies:
    """Of a house that is closed: its database and its pictures, not its log."""

    def __init__(self, settings: Settings) -> None:
        assert settings.database_url
        self.settings, self.url = settings, settings.database_url
        self.name = f"copy_{uuid.uuid4().hex[:12]}"
        self.pictures, self.kept = settings.data_dir / "blobs", settings.data_dir / "copied"

    def take(self) -> None:
        eventually(self._left_alone, 60, "the database to be left")
        self._administer("CREATE DATABASE {} TEMPLATE {}", self.name, str(conninfo_to_dict(self.url)["dbname"]))
        self.pictures.mkdir(exist_ok=True)
        shutil.copytree(self.pictures, self.kept)

    def restored(self) -> Settings:
        shutil.rmtree(self.pictures)
        shutil.copytree(self.kept, self.pictures)
        return self.settings.model_copy(update={"database_url": make_conninfo(self.url, dbname=self.name)})

    def away(self) -> None:
        self._administer("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name)

    def _left_alone(self) -> bool:
        """No connection of a house that is closed is left at the server either."""
        with psycopg.connect(make_conninfo(self.url, dbname="postgres"), autocommit=True) as connection:
            name = str(conninfo_to_dict(self.url)["dbname"])
            return connection.execute("SELECT FROM pg_stat_activity WHERE datname = %s", [name]).fetchone() is None

    def _administer(self, statement: str, *names: str) -> None:
        with psycopg.connect(make_conninfo(self.url, dbname="postgres"), autocommit=True) as connection:
            connection.execute(psycopg.sql.SQL(statement).format(*map(psycopg.sql.Identifier, names)))


@pytest.fixture
async def copies(settings: Settings) -> AsyncIterator[Copies]:
    made = Copies(settings)
    try:
        yield made
    finally:
        made.away()


@asynccontextmanager
async def restored(copies: Copies) -> AsyncIterator[House]:
    async with open_house(copies.restored()) as house:
        yield house
        await house.reconciler.keep_up()
        assert await rows(house, "SELECT id FROM receipts WHERE verified_at IS NULL") == []
        await check_invariants(house.database, house.blobs)


async def test_a_restored_copy_brings_nothing_back(settings: Settings, copies: Copies) -> None:
    async with open_house(settings) as house:
        gone, kept = await finished_jobs(house, 2, webhook="http://x/")
        upload = await house.services.assets.upload(house.account, a_bitmap())
    copies.take()
    async with open_house(settings) as house:
        receipt = await house.services.erasure.delete(house.account, [gone.id])
        await house.services.erasure.delete_named(house.account, upload.name)
    async with restored(copies) as house:
        for name in (*house.services.assets.output_names(gone), upload.name):
            with pytest.raises(NotFound):
                await house.services.assets.open(name)
        with pytest.raises(NotFound):
            await house.services.jobs.get(house.account, gone.id)
        await house.services.assets.open(house.services.assets.output_names(kept)[0])
        again = await house.services.erasure.receipt(house.account, receipt.id)
        assert (again.request_ids, again.assets, again.scope) == ((gone.id,), receipt.assets, "job")
        assert again.requested_at == receipt.requested_at
        await house.reconciler.keep_up()
        assert len(await house.blobs.keys()) == 2


async def test_a_job_that_had_not_begun_is_not_made_after_all(settings: Settings, copies: Copies) -> None:
    async with open_house(settings) as house:
        job = await house.submit()
    copies.take()
    async with open_house(settings) as house:
        await house.services.erasure.delete(house.account, [job.id])
    async with restored(copies) as house, house.working():
        other = await house.finished(await house.submit(a_request(seed=9)))
        assert other.state is JobState.succeeded
        assert await rows(house, f"SELECT state FROM jobs WHERE id = {job.id}") == [{"state": "cancelled"}]
        assert [each.seed for each in house.painter.generations] == [9]


async def test_a_cleared_cache_stays_clear(settings: Settings, copies: Copies) -> None:
    """The inputs of what had ended go again; a job that the copy has waiting keeps its own until it ends there."""
    async with open_house(settings) as house:
        (ended,) = await finished_jobs(house, 1)
        waiting = await house.submit(init=a_bitmap(8))
        upload = await house.services.assets.upload(house.account, a_bitmap(), temp=True)
    copies.take()
    async with open_house(settings) as house:
        await house.services.erasure.clear_cache(house.account)
    async with restored(copies) as house:
        with pytest.raises(NotFound):
            await house.services.assets.open(upload.name)
        kinds = await rows(house, "SELECT kind, request_id FROM assets WHERE state = 'live' ORDER BY id")
        assert [(row["kind"], row["request_id"]) for row in kinds] == [
            (AssetKind.output.label, ended.id),
            (AssetKind.init_image.label, waiting.id),
        ]
        async with house.working():
            assert (await house.finished(waiting)).state is JobState.succeeded
        assert await count(house, "assets WHERE state = 'live' AND kind = 'init_image'") == 0


async def test_another_database_has_nothing_to_fear_of_the_log(settings: Settings, copies: Copies) -> None:
    """Its requests may have the same ids; their marks are others."""
    async with open_house(settings) as house:
        job = await house.submit()
    copies.take()
    async with open_house(settings) as house:
        await house.services.erasure.delete(house.account, [job.id])
    other = copies.restored()
    with psycopg.connect(other.database_url or "") as connection:
        connection.execute("UPDATE jobs SET file_prefix = gen_random_uuid()::text")
    async with open_house(other) as house:
        assert (await house.services.jobs.get(house.account, job.id)).state is JobState.queued
        assert await count(house, "receipts") == 0


async def test_what_was_told_and_not_committed_is_made_true(house: House) -> None:
    """As after a crash between the two: the log has the line, the database does not know of it."""
    job = await house.submit()
    receipt, whole = str(uuid.uuid4()), {str(job.id): mark_of(job.file_prefix)}
    told = Deletion(receipt, house.account.id, None, "job", "2026-11-25T12:00:00+00:00", whole)
    await DeletionLog(house.settings.deletion_log_path).append(told)
    await house.reconciler.keep_up()
    with pytest.raises(NotFound):
        await house.services.jobs.get(house.account, job.id)
    assert (await house.services.erasure.receipt(house.account, receipt)).request_ids == (job.id,)


async def test_nothing_is_deleted_that_cannot_be_logged(house: House) -> None:
    job, path = await house.submit(), house.settings.deletion_log_path
    path.rename(path.with_name("away"))
    with pytest.raises(Unavailable, match="nothing was deleted"):
        await house.services.erasure.delete(house.account, [job.id])
    assert (await house.services.jobs.get(house.account, job.id)).state is JobState.queued
    await house.reconciler.keep_up()
    path.with_name("away").rename(path)
    await house.services.erasure.delete(house.account, [job.id])


async def test_a_house_with_a_damaged_log_is_not_opened(settings: Settings) -> None:
    async with open_house(settings) as house:
        for _ in range(2):
            await house.services.erasure.delete(house.account, [(await house.submit()).id])
    path = settings.deletion_log_path
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b'"job"', b'"jog"', 1))
    with pytest.raises(SetupFailed, match=r"line 2 does not follow .* Put a copy of it back"):
        await _open(settings)
    path.unlink()
    await _open(settings)


async def test_an_older_copy_of_the_log_is_known_for_one(settings: Settings) -> None:
    async with open_house(settings) as house:
        await house.services.erasure.delete(house.account, [(await house.submit()).id])
        old = settings.deletion_log_path.read_bytes()
        await house.services.erasure.delete(house.account, [(await house.submit()).id])
        await house.reconciler.keep_up()
    settings.deletion_log_path.write_bytes(old)
    with pytest.raises(SetupFailed, match="ends before what was read of it earlier"):
        await _open(settings)


async def test_the_log_holds_nothing_that_a_caller_wrote(settings: Settings) -> None:
    canary = f"canary{uuid.uuid4().hex}"
    async with open_house(settings) as house:
        (job,) = await finished_jobs(house, 1, prompt=canary, track_id=canary, webhook=f"http://{canary}/")
        await house.services.erasure.delete(house.account, [job.id])
    text = settings.deletion_log_path.read_text()
    assert str(job.id) in text
    assert not any(word in text for word in (canary, job.file_prefix, "tester"))


async def test_the_doctor_reads_the_log(settings: Settings) -> None:
    async def look() -> str:
        return await asyncio.to_thread(doctor.deletions, settings)

    assert "no log is at" in await look()
    async with open_house(settings) as house:
        for _ in range(2):
            await house.services.erasure.delete(house.account, [(await house.submit()).id])
        await house.reconciler.keep_up()
    path = settings.deletion_log_path
    assert (await look()).startswith(f"2 in {path} since")
    whole = path.read_bytes()
    for damaged, said in (
        (whole.replace(b'"job"', b'"jog"', 1), "line 2 does not follow"),
        (whole.split(b"\n")[0] + b"\n", "ends before"),
    ):
        path.write_bytes(damaged)
        with pytest.raises(SafelightError, match=f"{said}.*Put a copy of it back"):
            await look()
    path.unlink()
    with pytest.raises(SafelightError, match=r"The log of 2 lines .* is gone"):
        await look()
    await _open(settings)
    assert re.search(r"^0 in .*; other logs of this database: .* \(2 lines\)$", await look())


async def _open(settings: Settings) -> None:
    async with open_house(settings):
        pass
