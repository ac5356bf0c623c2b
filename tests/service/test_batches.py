"""Large erasures go slice by slice, and on from wherever one was broken off; the end of an account."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from safelight.errors import NotFound, Unauthorized
from safelight.service import batches
from safelight.service.batches import Wanted
from safelight.settings import Settings
from safelight.storage.deletion_log import DeletionLog
from tests.house import House, a_bitmap, a_request, open_house
from tests.invariants import check_invariants
from tests.service.rows import count, rows
from tests.service.test_replay import Copies, copies

pytestmark = pytest.mark.anyio
__all__ = ["copies"]


@pytest.fixture(autouse=True)
def small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "SLICE", 3)


async def many(house: House, number: int = 8) -> list[int]:
    return [(await house.submit(a_request(track_id="tour"))).id for _ in range(number)]


async def test_a_slice_is_a_transaction_and_the_receipt_tells_how_far_it_is(house: House) -> None:
    ids, receipt_id, erasure = await many(house), uuid.uuid4(), house.services.erasure
    await erasure.batches.accept(house.account, receipt_id, "jobs", ids)
    assert (await erasure.receipt(house.account, str(receipt_id))).left == 8
    assert await erasure.batches.go_on(receipt_id) == 3
    receipt = await erasure.receipt(house.account, str(receipt_id))
    assert (receipt.left, receipt.request_ids) == (5, tuple(ids))
    assert await count(house, "jobs WHERE erased_at IS NOT NULL") == 3
    await house.database.run("erasure.verify", receipts=None)
    assert (await erasure.receipt(house.account, str(receipt_id))).verified_at is None
    await house.reconciler.keep_up()
    receipt = await erasure.receipt(house.account, str(receipt_id))
    assert receipt.left == 0
    assert receipt.verified_at is not None
    assert await count(house, "jobs WHERE erased_at IS NOT NULL") == 8
    lines = [len(each.whole) for _, told in DeletionLog(house.settings.deletion_log_path).read() for each in told]
    assert lines == [3, 3, 2]
    await check_invariants(house.database, house.blobs)


async def test_two_share_the_slices(house: House) -> None:
    ids, receipt_id = await many(house), uuid.uuid4()
    await house.services.erasure.batches.accept(house.account, receipt_id, "jobs", ids)
    async with open_house(house.settings) as other:
        await asyncio.gather(*(each.services.erasure.go_on() for each in (house, other)))
        await house.services.erasure.go_on()
    assert await count(house, "jobs WHERE erased_at IS NULL") == 0
    told = [each for _, told in DeletionLog(house.settings.deletion_log_path).read() for each in told]
    assert sorted(int(each) for deletion in told for each in deletion.whole) == sorted(ids)


async def test_what_was_erased_meanwhile_keeps_its_own_receipt(house: House) -> None:
    ids, receipt_id, erasure = await many(house, 4), uuid.uuid4(), house.services.erasure
    await erasure.batches.accept(house.account, receipt_id, "jobs", ids)
    own = await erasure.delete(house.account, ids[:1])
    await erasure.go_on()
    assert (await erasure.delete(house.account, ids[:1])).id == own.id
    assert (await erasure.delete(house.account, ids[1:2])).id == str(receipt_id)
    await check_invariants(house.database, house.blobs)


async def test_more_than_a_slice_by_ids_is_all_or_none(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("safelight.service.erasure.SLICE", 3)
    ids, erasure = await many(house), house.services.erasure
    with pytest.raises(NotFound) as missing:
        await erasure.delete_many(house.account, [*ids, 1, 2**80])
    assert set(missing.value.ids) == {1, 2**80}
    assert await count(house, "receipts") == 0
    receipt = await erasure.delete_many(house.account, ids)
    await house.reconciler.keep_up()
    assert (await erasure.receipt(house.account, receipt.id)).left == 0
    assert await count(house, "jobs WHERE erased_at IS NULL") == 0


async def test_a_filter_means_what_is_there_now(house: House) -> None:
    ids, found = await many(house, 2), house.services.erasure.batches
    other = await house.submit()
    upload = await house.services.assets.upload(house.account, a_bitmap())
    assert await found.meant(house.account, Wanted(track_id="tour")) == ids
    assert await found.meant(house.account, Wanted(track_id="tou")) == []
    assert await found.meant(house.account, Wanted(kind="upload")) == [upload.request_id]
    assert await found.meant(house.account, Wanted()) == [*ids, other.id, upload.request_id]
    weight = await found.weigh(house.account, [upload.request_id])
    assert (weight.requests, weight.assets, weight.bytes) == (1, 1, upload.size)
    receipt = await house.services.erasure.delete_where(house.account, Wanted(track_id="tour"))
    assert receipt.request_ids == tuple(ids)
    assert await found.meant(house.account, Wanted(track_id="tour")) == []


async def an_account(house: House, name: str) -> str:
    """With a key, whose secret it gives, a job, an upload and preferences."""
    _, secret = await house.services.accounts.create_key(name, f"{name}'s phone")
    account = await house.services.accounts.named(name)
    await house.services.jobs.submit(account, a_request())
    await house.services.assets.upload(account, a_bitmap())
    await house.services.preferences.update(account, "a1111", {"CLIP_stop_at_last_layers": 2})
    return secret


async def test_an_account_is_erased_last_of_all(house: House) -> None:
    name = f"gone{uuid.uuid4().hex}"
    secret = await an_account(house, name)
    account, steps = await house.services.accounts.named(name), []
    kept = await house.submit()
    await house.services.erasure.close(account, lambda done, of: steps.append((done, of)))
    assert steps == [(2, 2)]
    with pytest.raises(Unauthorized):
        await house.services.accounts.authenticate(secret)
    with pytest.raises(NotFound):
        await house.services.accounts.named(name)
    with pytest.raises(NotFound):
        await house.services.erasure.close(account, lambda done, of: None)
    assert await count(house, f"preferences WHERE account_id = {account.id}") == 0
    texts = await rows(house, "SELECT a::text AS it FROM accounts a UNION ALL SELECT k::text FROM keys k")
    assert not any(name in row["it"] or secret[:12] in row["it"] for row in texts)
    assert name not in [row.name for row in await house.services.ledger.accounts()]
    await house.services.jobs.get(house.account, kept.id)
    await house.reconciler.keep_up()
    receipt = (await house.services.erasure.receipts(account, None, 1))[0]
    assert (receipt.scope, receipt.left) == ("account", 0)
    assert receipt.verified_at is not None
    assert (await house.services.accounts.create_account(name)).id != account.id
    await check_invariants(house.database, house.blobs)


async def test_an_erased_account_stays_erased_when_a_copy_is_restored(settings: Settings, copies: Copies) -> None:
    name = f"gone{uuid.uuid4().hex}"
    async with open_house(settings) as house:
        secret = await an_account(house, name)
    copies.take()
    async with open_house(settings) as house:
        await house.services.erasure.close(await house.services.accounts.named(name), lambda done, of: None)
    async with open_house(copies.restored()) as house:
        with pytest.raises(Unauthorized):
            await house.services.accounts.authenticate(secret)
        with pytest.raises(NotFound):
            await house.services.accounts.named(name)
        await house.reconciler.keep_up()
        assert await house.blobs.keys() == set()
        await check_invariants(house.database, house.blobs)
