"""What rests is sealed, and a deleted key is the end of it: in the rows, in the files, and in every copy of them."""

from __future__ import annotations

import asyncio
import base64
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from safelight.errors import Damaged, NotFound, SetupFailed
from safelight.records import JobState
from safelight.service.masters import FILE, Masters
from safelight.service.seals import Seal
from safelight.service.vault import Vault
from safelight.settings import Settings, read_settings
from safelight.storage import drawers
from safelight.storage.database import Database
from tests.house import House, a_bitmap, a_request, open_house
from tests.invariants import check_invariants
from tests.service.rows import count, rows

pytestmark = pytest.mark.anyio


def a_key() -> str:
    return base64.b64encode(os.urandom(32)).decode()


def test_a_seal_opens_only_what_it_closed_where_it_was_put() -> None:
    seal = Seal.new()
    closed = seal.close(b"a secret", "here")
    assert seal.open(closed, "here") == b"a secret"
    assert seal.close(b"a secret", "here") != closed
    for other, place, data in (
        (Seal.new(), "here", closed),
        (seal, "there", closed),
        (seal, "here", closed[:-1] + bytes([closed[-1] ^ 1])),
        (seal, "here", b""),
    ):
        with pytest.raises(Damaged):
            other.open(data, place)


async def test_nothing_rests_in_the_clear(house: House) -> None:
    async with house.working():
        job = await house.finished(await house.submit(a_request("a secret garden"), init=a_bitmap()))
    upload = await house.services.assets.upload(house.account, a_bitmap())
    (request,) = await rows(house, "SELECT body, sealed FROM requests")
    assert request["body"] is None
    assert b"garden" not in request["sealed"]
    kept = [await house.blobs.get(key) for key in await house.blobs.keys()]
    assert len(kept) == 3
    assert not any(b"PNG" in data or b"IHDR" in data for data in kept)
    assert (await house.services.assets.open(upload.name))[1] == a_bitmap().png
    assert (await house.services.jobs.get(house.account, job.id)).request == job.request
    await check_invariants(house.database, house.blobs)


async def test_copies_of_what_was_erased_are_noise(house: House) -> None:
    """As a backup, a replica or a versioned bucket would keep them: rows and files as they were, put back after the erasure."""
    async with house.working():
        job = await house.finished(await house.submit(a_request(), init=a_bitmap()))
    (text,) = await rows(house, "SELECT * FROM requests")
    assets = await rows(house, "SELECT * FROM assets ORDER BY id")
    files = {row["blob_key"]: await house.blobs.get(row["blob_key"]) for row in assets}
    await house.services.erasure.delete(house.account, [job.id])
    assert await count(house, "request_keys") == 0
    for asset in assets:
        with pytest.raises(NotFound):
            await house.vault.file_of(asset, files[asset["blob_key"]])
    with pytest.raises(NotFound):
        await house.vault.text_of({"id": job.id, "unstored": False, **text})


async def test_a_key_that_somebody_remembers_is_dropped_when_it_is_erased(house: House) -> None:
    async with open_house(house.settings, name="another process") as other:
        job = await house.submit()
        await other.services.jobs.get(house.account, job.id)
        assert (job.id, False) in other.vault._remembered
        await house.services.erasure.delete(house.account, [job.id])
        async with asyncio.timeout(60):
            while (job.id, False) in other.vault._remembered:
                await asyncio.sleep(0.01)


async def test_clearing_the_cache_takes_the_key_of_what_was_sent_and_leaves_the_pictures(house: House) -> None:
    async with house.working():
        job = await house.finished(await house.submit(init=a_bitmap()))
    assert await count(house, "request_keys") == 2
    await house.services.erasure.clear_cache(house.account)
    assert await rows(house, "SELECT sent FROM request_keys") == [{"sent": False}]
    await house.services.assets.open(house.services.assets.output_names(job)[0])
    await check_invariants(house.database, house.blobs)


async def test_what_came_to_nothing_leaves_no_key(settings: Settings) -> None:
    async with open_house(settings.model_copy(update={"account_queue": 1})) as house:
        jobs = await asyncio.gather(*(house.submit(init=a_bitmap()) for _ in range(4)), return_exceptions=True)
        assert sum(not isinstance(job, Exception) for job in jobs) == 1
        assert await count(house, "request_keys") == 2
        put = house.blobs.put

        async def broken(key: str, data: bytes) -> None:
            raise asyncio.CancelledError  # as if the process were killed here

        house.blobs.put = broken  # type: ignore[method-assign]
        with pytest.raises(asyncio.CancelledError):
            await house.services.assets.upload(house.account, a_bitmap())
        house.blobs.put = put  # type: ignore[method-assign]
        assert await count(house, "request_keys") == 3
        await house.reconciler.keep_up(intent_seconds=0)
        assert await count(house, "request_keys") == 2
        await check_invariants(house.database, house.blobs)


async def test_an_erasure_writes_one_small_part_anew_and_a_part_without_keys_is_dropped(house: House) -> None:
    first, second = await house.submit(), await house.submit()
    (part,) = await rows(house, "SELECT DISTINCT tableoid::regclass::text AS name FROM request_keys")
    await house.services.erasure.delete(house.account, [first.id])
    assert [row["part"] for row in await rows(house, "SELECT part FROM wipes")] == [part["name"]]
    await house.reconciler.keep_up()
    await house.services.jobs.get(house.account, second.id)
    await house.services.erasure.delete(house.account, [second.id])
    async with house.database.transaction() as tx:
        await tx.connection.execute("SELECT setval('request_ids', %s)", [second.id + 3 * drawers.IDS])
    await house.reconciler.keep_up()
    assert await rows(house, f"SELECT to_regclass('{part['name']}') AS found") == [{"found": None}]
    third = await house.submit()
    assert (await house.services.jobs.get(house.account, third.id)).state is JobState.queued
    await check_invariants(house.database, house.blobs)


async def test_parts_are_made_by_many_at_once(house: House) -> None:
    await asyncio.gather(*(drawers.make(house.database, 7) for _ in range(8)))
    assert await rows(house, "SELECT to_regclass('request_keys_7')::text AS found") == [{"found": "request_keys_7"}]


async def test_the_master_key_is_changed_under_a_running_house(house: House) -> None:
    path = house.settings.data_dir / FILE
    before = path.read_text()
    async with house.working(), open_house(house.settings, name="another process") as other:
        jobs = [await house.finished(await house.submit(a_request(seed=seed), init=a_bitmap())) for seed in range(3)]
        noted: list[tuple[int, int]] = []
        assert await house.vault.rotate(lambda done, of: noted.append((done, of))) == 6
        assert noted[-1] == (6, 6)
        other.vault._remembered.clear()
        for job in jobs:
            await other.services.assets.open(f"{job.file_prefix}-0.png")
            await other.services.jobs.get(house.account, job.id)
        late = await other.services.jobs.submit(house.account, a_request())
        assert (await house.finished(late)).state is JobState.succeeded
    assert len(path.read_text().split()) == 1
    assert path.read_text() != before
    assert await count(house, "masters") == 1
    await check_invariants(house.database, house.blobs)


async def test_a_change_of_the_master_key_that_was_broken_off_goes_on(house: House) -> None:
    job = await house.submit(a_request("to be kept"), init=a_bitmap())

    def break_off(done: int, of: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await house.vault.rotate(break_off)
    assert len((house.settings.data_dir / FILE).read_text().split()) == 2
    async with open_house(house.settings, name="begun again") as again:
        assert await again.vault.rotate(lambda done, of: None) == 0
        found = await again.services.jobs.get(house.account, job.id)
        assert found.request == job.request
    assert len((house.settings.data_dir / FILE).read_text().split()) == 1


async def test_the_master_key_from_the_environment_or_from_a_command(settings: Settings, tmp_path: Path) -> None:
    first, second = a_key(), a_key()
    async with open_house(settings.model_copy(update={"master_key": first})) as house:
        job = await house.submit()
    told = settings.model_copy(update={"master_key_command": f"echo {second} {first}"})
    async with open_house(told) as house:
        assert await house.vault.rotate(lambda done, of: None) == 1
    async with open_house(settings.model_copy(update={"master_key": second})) as house:
        assert (await house.services.jobs.get(house.account, job.id)).request == job.request
    assert not (settings.data_dir / FILE).exists()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "Copy it from the server's data directory"),
        ({"master_key": "not a key"}, "32 bytes in base64"),
        ({"master_key": base64.b64encode(b"short").decode()}, "32 bytes in base64"),
        ({"master_key": a_key()}, "does not open what this database holds"),
        ({"master_key_command": "false"}, "The command that tells the master key failed"),
        ({"master_key_command": "/nowhere/at/all"}, "The command that tells the master key failed"),
    ],
)
async def test_without_the_right_master_key_nothing_starts(
    house: House, tmp_path: Path, given: dict[str, Any], said: str
) -> None:
    settings = read_settings(data_dir=tmp_path / "elsewhere", **given)
    assert house.settings.database_url
    vault = Vault(Database(house.settings.database_url), Masters(settings))
    with pytest.raises(SetupFailed, match=said) as refused:
        await opened(vault)
    assert given.get("master_key", "no key") not in refused.value.message


async def opened(vault: Vault) -> None:
    await vault._database.open()
    try:
        await vault.open()
    finally:
        await vault._database.close()


async def test_the_file_is_for_its_owner_alone(house: House) -> None:
    assert stat.S_IMODE((house.settings.data_dir / FILE).stat().st_mode) == 0o600


async def test_two_first_starts_agree_on_one_master_key(settings: Settings) -> None:
    assert settings.database_url
    places = [read_settings(data_dir=settings.data_dir / name) for name in ("one", "two")]
    vaults = [Vault(Database(settings.database_url), Masters(place)) for place in places]

    async def start(vault: Vault) -> bool:
        await vault._database.open()
        try:
            await vault.open(may_make=True)
        except SetupFailed:
            return False
        finally:
            await vault._database.close()
        return True

    assert sorted(await asyncio.gather(*map(start, vaults))) == [False, True]
