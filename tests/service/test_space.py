"""What one account may keep: counted as it changes, refused with a sentence, freed by deleting, and nobody else's matter."""

from __future__ import annotations

import pytest

from safelight.errors import NotFound, OverQuota
from safelight.records import JobState, Limits
from safelight.service.space import bytes_kept
from safelight.settings import Settings
from tests.house import House, a_bitmap, a_request, open_house
from tests.invariants import check_invariants

pytestmark = pytest.mark.anyio


async def refused(house: House) -> str:
    with pytest.raises(OverQuota) as why:
        await house.submit()
    return why.value.message


async def test_who_keeps_too_much_makes_room_by_deleting(settings: Settings) -> None:
    async with open_house(settings.model_copy(update={"account_bytes": 1})) as house:
        other = await house.services.accounts.create_account("other")
        async with house.working():
            made = await house.finished(await house.submit())
            kept = await bytes_kept(house.database, house.account)
            assert (made.state, made.outputs) == (JobState.succeeded, 1)
            assert kept > 1
            assert f"{kept:,} of 1 bytes are used. Delete pictures" in await refused(house)
            await house.reconciler.keep_up()  # which adds the changes up
            assert f"{kept:,} of 1 bytes" in await refused(house)
            assert (await house.services.jobs.submit(other, a_request())).id
            await house.services.erasure.delete(house.account, [made.id])
            assert await bytes_kept(house.database, house.account) == 0
            assert (await house.finished(await house.submit())).state is JobState.succeeded
        await check_invariants(house.database, house.blobs)


async def test_an_upload_must_fit_into_what_is_left(settings: Settings) -> None:
    async with open_house(settings.model_copy(update={"account_bytes": 800})) as house:
        upload = house.services.assets.upload
        first = await upload(house.account, a_bitmap())
        assert first.size is not None
        while first.size + await bytes_kept(house.database, house.account) <= 800:
            await upload(house.account, a_bitmap())
        with pytest.raises(OverQuota):
            await upload(house.account, a_bitmap())
        assert first.size <= await bytes_kept(house.database, house.account) <= 800
        await check_invariants(house.database, house.blobs)


async def test_an_account_may_have_limits_of_its_own(house: House) -> None:
    accounts, other = house.services.accounts, await house.services.accounts.create_account("other")
    assert await accounts.limit("other", jobs=1, space=2) == Limits(1, 2)
    assert await accounts.limit("other", jobs=3) == Limits(3, 2)
    assert [await house.services.jobs.limit(each) for each in (other, house.account)] == [
        3,
        house.settings.account_queue,
    ]
    for _ in range(3):
        await house.services.jobs.submit(other, a_request())
    with pytest.raises(OverQuota, match="Maximum 3 queued requests"):
        await house.services.jobs.submit(other, a_request())
    with pytest.raises(OverQuota, match="of 2 bytes are used"):
        await house.services.assets.upload(other, a_bitmap())
    assert await accounts.limit("other", jobs=0, space=0) == Limits()
    assert (await house.services.jobs.submit(other, a_request())).id
    assert (await house.services.assets.upload(other, a_bitmap())).size
    with pytest.raises(NotFound):
        await accounts.limit("nobody", jobs=1)
