"""The disk of the pictures is full, or that of everything: who asks is told so, what was accepted ends when there is room again, and
deleting works all the same.

A small disk is a tmpfs, which takes the right to mount one.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from safelight.cancelling import cancel
from safelight.errors import NotFound, Unavailable
from safelight.records import Job, JobState
from safelight.settings import Settings, read_settings
from safelight.storage.migrate import migrate
from safelight.storage.postgres import EmbeddedPostgres
from safelight.storage.reserve import Reserve
from tests.crashes.lives import at_work, tidied
from tests.house import House, a_bitmap, a_request, open_house
from tests.invariants import check_invariants
from tests.service.rows import count

pytestmark = pytest.mark.anyio


@pytest.fixture
def small_disk() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="safelight-disk-") as folder:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=256m,mode=0755", "tmpfs", folder], capture_output=True, check=False
        )
        if mounted.returncode:
            pytest.skip("a small disk takes the right to mount one")
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)


def fill(disk: Path) -> Path:
    """To the last byte."""
    filler = disk / "filler"
    with filler.open("ab", buffering=0) as file, suppress(OSError):
        for size in (2**20, 2**12, 1):
            with suppress(OSError):
                while True:
                    file.write(os.urandom(size))
    assert os.statvfs(disk).f_bavail == 0
    return filler


async def made(house: House, number: int) -> list[Job]:
    jobs = [await house.submit(a_request(seed=seed), init=a_bitmap()) for seed in range(number)]
    return [await house.finished(job) for job in jobs]


async def deleted(house: House, job: Job) -> None:
    """At once, whatever the disk says."""
    (name,) = house.services.assets.output_names(job)
    await house.services.erasure.delete(house.account, [job.id])
    with pytest.raises(NotFound):
        await house.services.jobs.get(house.account, job.id)
    with pytest.raises(NotFound):
        await house.services.assets.open(name)


@pytest.mark.slow
async def test_the_disk_of_the_pictures_is_full(settings: Settings, small_disk: Path) -> None:
    given = settings.model_copy(update={"blob_url": small_disk.as_uri(), "stalled_seconds": 20.0})
    async with open_house(given) as house, at_work(house):
        before = await made(house, 2)
        filler = fill(small_disk)
        with pytest.raises(Unavailable):
            await house.submit(init=a_bitmap())
        assert await count(house, "jobs") == 2
        waiting = await house.submit(a_request(seed=7))
        await deleted(house, before[0])
        fill(small_disk)
        await deleted(house, before[1])
        filler.unlink()
        assert (await house.finished(waiting)).state is JobState.succeeded
        await house.services.erasure.delete(house.account, [waiting.id])
        await tidied(house)
        assert await house.blobs.keys() == set()
        await check_invariants(house.database, house.blobs)


@pytest.mark.chaos
async def test_the_disk_of_everything_is_full(small_disk: Path) -> None:
    server = EmbeddedPostgres(small_disk)
    url = server.start()
    migrate(url)
    keeping = asyncio.create_task(server.keep_alive())
    settings = read_settings(data_dir=small_disk, database_url=url, heartbeat_seconds=0.2, stalled_seconds=20.0)
    try:
        async with open_house(settings) as house:
            async with at_work(house):
                before = await made(house, 8)
            reserve = house.services.erasure.reserve
            reserve.hold()
            filler, accepted = fill(small_disk), []
            with suppress(Unavailable):
                while True:
                    accepted.append(await house.submit(a_request("a long story " * 200)))
            for job in before:
                await deleted(house, job)
                fill(small_disk)
            assert reserve.is_out
            with pytest.raises(Unavailable, match="disk of this server is full"):
                await house.submit()
            filler.unlink()
            async with at_work(house):
                assert {(await house.finished(job)).state for job in accepted} <= {JobState.succeeded}
            await tidied(house)
            assert not Reserve(small_disk).is_out
            await check_invariants(house.database, house.blobs)
    finally:
        await cancel(keeping)
        server.stop()
