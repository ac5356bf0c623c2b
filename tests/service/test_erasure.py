"""Deleted means gone: from every reader at once, and from the disk soon after."""

from __future__ import annotations

import asyncio
import secrets
import subprocess
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from safelight.errors import NotFound
from safelight.records import AssetKind, CaptionRequest, Job, JobState, Receipt
from safelight.service.assets import output_name
from safelight.settings import Settings, read_settings
from safelight.storage.deletion_log import DeletionLog
from safelight.storage.migrate import migrate
from safelight.storage.postgres import EmbeddedPostgres
from tests.buckets import guarded, versioned
from tests.house import House, a_bitmap, a_request, open_house
from tests.invariants import check_invariants
from tests.service.rows import count, rows

pytestmark = pytest.mark.anyio


async def finished_jobs(house: House, number: int, **parts: Any) -> list[Job]:
    async with house.working():
        jobs = [await house.submit(a_request(seed=seed, **parts), init=a_bitmap()) for seed in range(number)]
        return [await house.finished(job) for job in jobs]


async def test_a_deleted_job_is_gone_with_all_that_it_had(house: House) -> None:
    (job,) = await finished_jobs(house, 1, samples=2, webhook="http://x/")
    receipt = await house.services.erasure.delete(house.account, [job.id])
    assert (receipt.scope, receipt.request_ids, receipt.assets) == ("job", (job.id,), 3)
    assert receipt.bytes > 0
    assert await house.blobs.keys() == set()
    with pytest.raises(NotFound):
        await house.services.jobs.get(house.account, job.id)
    with pytest.raises(NotFound):
        await house.services.jobs.find(house.account, job.file_prefix)
    for name in house.services.assets.output_names(job):
        with pytest.raises(NotFound):
            await house.services.assets.open(name)
    assert await rows(house, "SELECT state FROM outbox") == [{"state": "cancelled"}]
    await house.reconciler.keep_up()
    receipt = await house.services.erasure.receipt(house.account, receipt.id)
    assert receipt.verified_at is not None
    assert (await house.services.overview.statistics()).outcomes["succeeded"] == 1
    await check_invariants(house.database, house.blobs)


async def test_the_same_with_pictures_in_s3(settings: Settings, s3_url: str) -> None:
    async with open_house(settings.model_copy(update={"blob_url": s3_url})) as house:
        kept, job = await finished_jobs(house, 2)
        assert len(await house.blobs.keys()) == 4
        await house.services.erasure.delete(house.account, [job.id])
        assert len(await house.blobs.keys()) == 2
        await house.services.assets.open(house.services.assets.output_names(kept)[0])
        await check_invariants(house.database, house.blobs)


async def test_a_receipt_is_verified_when_no_version_is_left(
    settings: Settings, s3: Any, s3_server: str, s3_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    versioned(s3, s3_url)
    with guarded(s3_server) as (somebody, deny):
        for name, value in somebody.items():
            monkeypatch.setenv(name, value)
        async with open_house(settings.model_copy(update={"blob_url": s3_url})) as house:
            (job,) = await finished_jobs(house, 1)
            deny("DeleteObjectVersion")
            receipt = await house.services.erasure.delete(house.account, [job.id])
            await house.reconciler.keep_up()
            assert (await house.services.erasure.receipt(house.account, receipt.id)).verified_at is None
            deny()
            await house.reconciler.keep_up()
            assert (await house.services.erasure.receipt(house.account, receipt.id)).verified_at is not None
            assert await house.blobs.keys() == set()


async def test_deleting_again_gives_the_first_receipt(house: House) -> None:
    jobs = await finished_jobs(house, 2)
    erasure = house.services.erasure
    first = await erasure.delete(house.account, [jobs[0].id])
    assert (await erasure.delete(house.account, [jobs[0].id])).id == first.id
    both = await erasure.delete(house.account, [jobs[0].id, jobs[1].id, jobs[1].id])
    assert both.request_ids == (jobs[1].id,)
    assert await count(house, "receipts") == 2


async def test_a_batch_is_all_or_nothing(house: House) -> None:
    mine, other = await house.submit(), await house.services.accounts.create_account("other")
    theirs = await house.services.jobs.submit(other, a_request())
    erasure = house.services.erasure
    for strange in (theirs.id, 1, 0, -5, 2**63, 2**80):
        with pytest.raises(NotFound) as missing:
            await erasure.delete(house.account, [mine.id, strange])
        assert missing.value.ids == (strange,)
    with pytest.raises(NotFound):
        await erasure.delete(house.account, [])
    with pytest.raises(NotFound) as missing:
        await erasure.delete_tasks(house.account, [mine.file_prefix, theirs.file_prefix, "nonsense", str(theirs.id)])
    assert set(missing.value.ids) >= {theirs.file_prefix, "nonsense"}
    assert await count(house, "jobs WHERE erased_at IS NOT NULL") == await count(house, "receipts") == 0
    assert (await house.services.jobs.get(other, theirs.id)).state is JobState.queued


async def test_deletions_at_the_same_time_share_a_transaction_and_nothing_else(house: House) -> None:
    other = await house.services.accounts.create_account("other")
    first, second, kept = [await house.submit() for _ in range(3)]
    theirs = await house.services.jobs.submit(other, a_request())
    asked = [(house.account, first), (other, theirs), (house.account, theirs), (house.account, second)]
    deletions = [house.services.erasure.delete(account, [job.id]) for account, job in [*asked, asked[-1]]]
    mine, others, refused, *twice = await asyncio.gather(*deletions, return_exceptions=True)
    assert isinstance(refused, NotFound)
    assert refused.ids == (theirs.id,)
    receipts = [each for each in (mine, others, *twice) if isinstance(each, Receipt)]
    assert [(each.account_id, each.request_ids) for each in receipts] == [
        (account.id, (job.id,)) for account, job in (asked[0], asked[1], asked[3], asked[3])
    ]
    assert len({each.id for each in receipts}) == 3
    told = [deletions for _, deletions in DeletionLog(house.settings.deletion_log_path).read() if deletions]
    assert [[each.receipt for each in line] for line in told] == [[each.id for each in receipts[:3]]]
    assert (await house.services.jobs.get(house.account, kept.id)).state is JobState.queued
    await check_invariants(house.database, house.blobs)


async def test_tasks_by_prefix_and_by_number(house: House) -> None:
    first, second = await house.submit(), await house.submit()
    receipt = await house.services.erasure.delete_tasks(house.account, [first.file_prefix.upper(), str(second.id)])
    assert receipt.request_ids == (first.id, second.id)
    with pytest.raises(NotFound):
        await house.services.erasure.delete_tasks(house.account, [])


async def test_a_foreign_receipt_is_not_there(house: House) -> None:
    receipt = await house.services.erasure.delete(house.account, [(await house.submit()).id])
    other = await house.services.accounts.create_account("other")
    for whose, which in ((other, receipt.id), (house.account, "nonsense"), (house.account, "\x00")):
        with pytest.raises(NotFound):
            await house.services.erasure.receipt(whose, which)


@pytest.mark.parametrize(
    "form",
    [
        "{name}",
        "http://here:8000/generations/{name}",
        "https://x/temp/{name}.base64?download=1#x",
        "generations/{name}",
    ],
)
async def test_by_the_name_or_address_of_an_output(house: House, form: str) -> None:
    (job,) = await finished_jobs(house, 1, samples=2)
    name = house.services.assets.output_names(job)[1]
    other = await house.services.accounts.create_account("other")
    with pytest.raises(NotFound):
        await house.services.erasure.delete_named(other, form.format(name=name))
    receipt = await house.services.erasure.delete_named(house.account, form.format(name=name))
    assert (receipt.request_ids, receipt.assets) == ((job.id,), 3)
    assert (await house.services.erasure.delete_named(house.account, form.format(name=name))).id == receipt.id


async def test_by_the_name_of_a_picture_that_is_not_made_yet(house: House) -> None:
    job = await house.submit()
    address = f"http://here:8000/generations/{output_name(job.file_prefix, 0)}"
    other = await house.services.accounts.create_account("other")
    with pytest.raises(NotFound):
        await house.services.erasure.delete_named(other, address)
    receipt = await house.services.erasure.delete_named(house.account, address)
    assert receipt.request_ids == (job.id,)
    assert (await house.services.erasure.delete_named(house.account, address)).id == receipt.id


@pytest.mark.parametrize("name", ["", "/", "http://[", "x.png", "../../etc/passwd", "%00", "a\x00", "é.png", "\ud800"])
async def test_other_names_delete_nothing(house: House, name: str) -> None:
    with pytest.raises(NotFound):
        await house.services.erasure.delete_named(house.account, name)


async def test_an_upload_by_id_and_by_name(house: House) -> None:
    assets, erasure = house.services.assets, house.services.erasure
    first, second = await assets.upload(house.account, a_bitmap()), await assets.upload(house.account, a_bitmap())
    await erasure.delete(house.account, [first.request_id])
    await erasure.delete_named(house.account, second.name)
    assert await house.blobs.keys() == set()
    for asset in (first, second):
        with pytest.raises(NotFound):
            await assets.open(asset.name)


async def test_fifty_deletes_at_once_are_one(house: House) -> None:
    jobs = await finished_jobs(house, 3)
    ids = [job.id for job in jobs]
    receipts = await asyncio.gather(*(house.services.erasure.delete(house.account, ids) for _ in range(50)))
    assert len({receipt.id for receipt in receipts}) == await count(house, "receipts") == 1
    assert receipts[0].assets == 6
    await check_invariants(house.database, house.blobs)


async def test_crossing_batches_do_not_wait_for_each_other_for_ever(house: House) -> None:
    ids = [(await house.submit()).id for _ in range(12)]
    erasure = house.services.erasure
    await asyncio.gather(*(erasure.delete(house.account, ids[n:] + ids[:n]) for n in range(12)))
    assert await count(house, "jobs WHERE erased_at IS NOT NULL") == 12


async def test_a_reader_gets_the_whole_picture_or_none(house: House) -> None:
    (job,) = await finished_jobs(house, 1)
    name = house.services.assets.output_names(job)[0]
    whole = (await house.services.assets.open(name))[1]

    async def read() -> bytes | None:
        try:
            return (await house.services.assets.open(name))[1]
        except NotFound:
            return None

    reading = [asyncio.create_task(read()) for _ in range(40)]
    await house.services.erasure.delete(house.account, [job.id])
    assert set(await asyncio.gather(*reading)) <= {whole, None}
    assert await read() is None


async def test_bytes_that_cannot_be_removed_are_tried_again(house: House) -> None:
    (job,) = await finished_jobs(house, 1)
    folders = [path for path in (house.settings.data_dir / "blobs").glob("*/*") if any(path.iterdir())]
    blobs = house.settings.data_dir / "blobs"
    away = blobs.rename(blobs.with_name("away"))
    blobs.write_text("the disk is gone")
    receipt = await house.services.erasure.delete(house.account, [job.id])
    await house.reconciler.keep_up()
    assert (await house.services.erasure.receipt(house.account, receipt.id)).verified_at is None
    with pytest.raises(NotFound):
        await house.services.assets.open(f"{job.file_prefix}-0.png")
    blobs.unlink()
    away.rename(blobs)
    await house.reconciler.keep_up()
    assert (await house.services.erasure.receipt(house.account, receipt.id)).verified_at is not None
    assert not any(any(folder.iterdir()) for folder in folders)
    await check_invariants(house.database, house.blobs)


async def test_the_cache_is_cleared_and_the_rest_stays(house: House) -> None:
    (job,) = await finished_jobs(house, 1)
    assets = house.services.assets
    kept, temporary = (
        await assets.upload(house.account, a_bitmap()),
        await assets.upload(house.account, a_bitmap(), temp=True),
    )
    other = await house.services.accounts.create_account("other")
    foreign = await assets.upload(other, a_bitmap(), temp=True)
    receipt = await house.services.erasure.clear_cache(house.account)
    assert (receipt.scope, receipt.assets, set(receipt.request_ids)) == ("cache", 2, {job.id, temporary.request_id})
    for name in (kept.name, foreign.name, *assets.output_names(job)):
        await assets.open(name)
    with pytest.raises(NotFound):
        await assets.open(temporary.name)
    assert (await house.services.erasure.clear_cache(house.account)).assets == 0
    await check_invariants(house.database, house.blobs)


async def test_the_cache_is_cleared_with_outputs_where_the_operator_says_so(settings: Settings) -> None:
    async with open_house(settings.model_copy(update={"clear_cache_deletes_outputs": True})) as house:
        (job,) = await finished_jobs(house, 1)
        waiting = await house.submit(init=a_bitmap())
        receipt = await house.services.erasure.clear_cache(house.account)
        assert receipt.assets == 3
        for gone in (job, waiting):
            with pytest.raises(NotFound):
                await house.services.jobs.get(house.account, gone.id)
        assert await house.blobs.keys() == set()
        await check_invariants(house.database, house.blobs)


async def test_what_has_had_its_time_is_erased_by_itself(settings: Settings) -> None:
    async with open_house(settings.model_copy(update={"output_days": 30})) as house:
        old, young = await finished_jobs(house, 2)
        (temporary,) = await finished_jobs(house, 1, temp=True)
        upload = await house.services.assets.upload(house.account, a_bitmap(), temp=True)
        async with house.database.pool.connection() as connection:
            await connection.execute("UPDATE jobs SET finished_at = now() - interval '31 days' WHERE id = %s", [old.id])
            await connection.execute("UPDATE jobs SET expires_at = now() WHERE id = %s", [temporary.id])
            await connection.execute("UPDATE assets SET expires_at = now() WHERE request_id = %s", [upload.request_id])
        await house.reconciler.keep_up()
        for gone in (old, temporary):
            with pytest.raises(NotFound):
                await house.services.jobs.get(house.account, gone.id)
        assert (await house.services.jobs.get(house.account, young.id)).outputs == 1
        assert len(await house.blobs.keys()) == 2
        scopes = await rows(house, "SELECT DISTINCT scope FROM receipts WHERE verified_at IS NOT NULL")
        assert scopes == [{"scope": "expiry"}]
        await check_invariants(house.database, house.blobs)


async def test_no_word_of_it_is_left_in_any_file(data_dir: Path) -> None:
    """The canary: prompt, track id, webhook, pixels and an answer in words, looked for in every file of a house of its own."""
    canary = f"CANARY{secrets.token_hex(16)}"
    server = EmbeddedPostgres(data_dir)
    url = server.start()
    try:
        migrate(url)
        settings = read_settings(data_dir=data_dir, database_url=url, heartbeat_seconds=0.2, stalled_seconds=1.0)
        async with open_house(settings) as house:
            await finished_jobs(house, 5)
            jobs = await finished_jobs(
                house, 3, prompt=canary, negative_prompt=canary, track_id=canary, webhook=f"http://{canary}.example/",
                extras={"enhanced": canary},
            )  # fmt: skip
            jobs += await finished_jobs(house, 1, prompt=f"{canary} {'and a long tail ' * 5000}")
            jobs.append(await put_into_words(house, canary))
            assert hits(canary, data_dir) == [], "words rest in the clear"
            assert hits(str(jobs[0].file_prefix), data_dir), (
                "the files were not looked through: this test would prove nothing"
            )
            receipt = await house.services.erasure.delete(house.account, [job.id for job in jobs])
            await house.reconciler.keep_up()
            assert hits(canary, data_dir) == []
            assert (await house.services.erasure.receipt(house.account, receipt.id)).verified_at is not None
            assert len(await house.blobs.keys()) == 10
            await check_invariants(house.database, house.blobs)
    finally:
        server.stop()
    assert hits(canary, data_dir) == []


async def put_into_words(house: House, said: str) -> Job:
    """A job whose answer is ``said``."""
    async with house.working():
        asked = CaptionRequest(pixels=1, captioner="any", length=said)
        job = await house.services.jobs.submit(house.account, asked, {AssetKind.init_image: a_bitmap()})
        done = await house.finished(job)
    assert await house.services.assets.texts(house.account, done) == [said]
    return done


async def test_a_reader_in_the_way_delays_the_wipe_and_nobody_else(house: House) -> None:
    """Who waits for a table holds up all who come after: so the wipe does not wait, and jobs stay readable."""
    jobs = [await house.submit() for _ in range(2)]
    receipt = await house.services.erasure.delete(house.account, [jobs[0].id])
    with psycopg.connect(house.settings.database_url or "", autocommit=False) as dump:
        dump.execute("LOCK TABLE request_keys IN ACCESS SHARE MODE")
        upkeep = asyncio.create_task(house.reconciler.keep_up())
        async with asyncio.timeout(60):
            while not upkeep.done():
                await house.services.jobs.get(house.account, jobs[1].id)
            await upkeep
        assert (await house.services.erasure.receipt(house.account, receipt.id)).verified_at is None
        dump.rollback()
    await house.reconciler.keep_up()
    assert (await house.services.erasure.receipt(house.account, receipt.id)).verified_at is not None


async def test_a_reader_of_the_past_holds_the_verification_up(house: House) -> None:
    """A dump that began before the erasure still sees the text, so the receipt does not claim more than is true."""
    job = await house.submit()
    with psycopg.connect(make_conninfo(house.settings.database_url or ""), autocommit=False) as dump:
        dump.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        dump.execute("SELECT count(*) FROM jobs")
        receipt = await house.services.erasure.delete(house.account, [job.id])
        await house.reconciler.keep_up()
        assert (await house.services.erasure.receipt(house.account, receipt.id)).verified_at is None
        dump.rollback()
        await house.reconciler.keep_up()
    assert (await house.services.erasure.receipt(house.account, receipt.id)).verified_at is not None


def hits(canary: str, folder: Path) -> list[str]:
    found = subprocess.run(["grep", "-rlaF", canary, str(folder)], capture_output=True, text=True, check=False)
    return found.stdout.split()
