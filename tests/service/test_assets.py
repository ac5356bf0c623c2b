"""Uploads and the reading of pictures."""

from __future__ import annotations

import pytest

from safelight.errors import NotFound, Unavailable
from safelight.records import AssetKind, AssetState
from tests.house import House, a_bitmap
from tests.invariants import check_invariants
from tests.service.rows import count, rows

pytestmark = pytest.mark.anyio


async def test_an_upload_is_read_by_its_name(house: House) -> None:
    bitmap = a_bitmap()
    asset = await house.services.assets.upload(house.account, bitmap)
    assert (asset.kind, asset.state) == (AssetKind.upload, AssetState.live)
    assert asset.size == len(bitmap.png) + 28  # a nonce and a tag
    assert asset.expires_at is None
    assert len(asset.name) == 32 + len(".png")
    assert await house.services.assets.open(asset.name) == (asset, bitmap.png)
    await check_invariants(house.database, house.blobs)


async def test_jobs_and_uploads_share_one_sequence(house: House) -> None:
    job, asset = await house.submit(), await house.services.assets.upload(house.account, a_bitmap())
    assert asset.request_id == job.id + 1


async def test_a_temporary_upload_lives_a_day(house: House) -> None:
    asset = await house.services.assets.upload(house.account, a_bitmap(), temp=True)
    assert asset.expires_at is not None
    assert round((asset.expires_at - asset.created_at).total_seconds()) == 24 * 3600
    async with house.database.pool.connection() as connection:
        await connection.execute("UPDATE assets SET expires_at = now() - interval '1 second'")
    with pytest.raises(NotFound):
        await house.services.assets.open(asset.name)


@pytest.mark.parametrize("name", ["", "x.png", "../x", "a\x00b", "0" * 36, "%2e%2e"])
async def test_other_names_open_nothing(house: House, name: str) -> None:
    with pytest.raises(NotFound):
        await house.services.assets.open(name)


async def test_inputs_are_not_for_reading(house: House) -> None:
    await house.submit(init=a_bitmap())
    (row,) = await rows(house, "SELECT name FROM assets")
    with pytest.raises(NotFound):
        await house.services.assets.open(row["name"])


async def test_an_upload_that_cannot_be_written_leaves_nothing(house: House) -> None:
    blobs = house.settings.data_dir / "blobs"
    blobs.write_text("in the way")
    with pytest.raises(Unavailable):
        await house.services.assets.upload(house.account, a_bitmap())
    blobs.unlink()
    await house.reconciler.keep_up()
    assert await count(house, "assets WHERE state <> 'gone'") == 0
    await check_invariants(house.database, house.blobs)
