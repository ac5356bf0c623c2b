"""Files and rows are compared: what is gone goes, what nobody knows is reported first, and what is another's stays."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from safelight import doctor
from safelight.errors import SafelightError
from safelight.metrics import Metrics
from safelight.service.stocktaking import Stock, Stocktaking, last
from safelight.settings import Settings
from safelight.storage import comparison
from safelight.storage.blobs import new_key
from safelight.storage.comparison import Differences, compare
from tests.buckets import bucket_of, kept, versioned
from tests.house import House, a_bitmap, open_house
from tests.invariants import check_invariants
from tests.service.rows import count, rows

pytestmark = pytest.mark.anyio

NOW = timedelta(0)


async def taken(house: House, settled: timedelta = NOW, **settings: object) -> Stock:
    await Stocktaking(house.settings.model_copy(update=settings), house.database, house.blobs).take(settled)
    found = await last(house.database)
    assert found is not None
    return found


async def ours(house: House) -> set[str]:
    return {key for key in await house.blobs.keys() if not key.startswith("house/")}


async def test_a_house_in_order_is_left_as_it_is(house: House) -> None:
    for _ in range(2):
        await house.services.assets.upload(house.account, a_bitmap())
    found = await taken(house)
    assert (found.files, found.strays, found.lost, found.removed, found.others) == (2, 0, 0, 0, ())
    assert (await taken(house)).files == 2
    assert len(await house.blobs.keys()) == 3
    assert "of 2 files 0 had no row" in await asyncio.to_thread(doctor.stock, house.settings)
    await check_invariants(house.database, house.blobs)


async def test_what_rows_say_is_gone_goes_once_more(house: House) -> None:
    uploaded = await house.services.assets.upload(house.account, a_bitmap())
    await house.services.erasure.delete(house.account, [uploaded.request_id])
    (gone,) = await rows(house, "SELECT blob_key FROM assets")
    await house.blobs.put(gone["blob_key"], b"by a writer that came late")
    assert (await taken(house, timedelta(days=1))).removed == 0
    assert (await taken(house, stray_days=0.0)).removed == 1
    assert await ours(house) == set()


async def test_what_no_row_knows_is_reported_before_it_is_removed(house: House) -> None:
    strange = new_key("output", ".png")
    await house.blobs.put(strange, b"of another time")
    await house.blobs.leave_half(half := new_key("upload", ".png"))
    assert (await taken(house)).strays == 2
    assert await ours(house) == {strange, half}
    await house.database.run("stocktaking.forget", blob_key=half)
    await house.blobs.delete(half)
    with pytest.raises(SafelightError, match="1 had no row"):
        await asyncio.to_thread(doctor.stock, house.settings)
    assert "safelight_files_without_row 1.0" in (await Metrics(house.services.overview.statistics).page()).decode()
    async with house.database.transaction() as tx:
        await tx.connection.execute("UPDATE strays SET found_at = now() - interval '8 days'")
    assert (await taken(house, stray_days=0.0)).removed == 0
    assert (await taken(house)).removed == 1
    assert await ours(house) == set()
    assert await count(house, "strays") == 0


async def test_nothing_is_removed_where_another_database_has_its_mark(house: House) -> None:
    strange, mark = new_key("output", ".png"), new_key("house", ".txt")
    await house.blobs.put(strange, b"of another house")
    await taken(house)
    await house.blobs.put(mark, b"another house")
    async with house.database.transaction() as tx:
        await tx.connection.execute("UPDATE strays SET found_at = now() - interval '8 days'")
    found = await taken(house)
    assert (found.strays, found.removed, found.others) == (1, 0, (mark,))
    with pytest.raises(SafelightError, match="Another database"):
        await asyncio.to_thread(doctor.stock, house.settings)
    await house.blobs.delete(mark)
    assert (await taken(house)).removed == 1


async def test_rows_without_a_file_are_told(house: House) -> None:
    uploads = [await house.services.assets.upload(house.account, a_bitmap()) for _ in range(3)]
    (first, *_) = await house.blobs.keys()
    await house.blobs.delete(first)
    assert (await taken(house, timedelta(days=1))).lost == 0
    found = await taken(house)
    assert (found.files, found.lost) == (2, 1)
    assert "safelight_rows_without_file 1.0" in (await Metrics(house.services.overview.statistics).page()).decode()
    assert len(uploads) == await count(house, "assets WHERE state = 'live'")


async def test_versions_that_an_earlier_deletion_left_in_a_bucket_go(
    settings: Settings, s3: Any, s3_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    versioned(s3, s3_url)
    async with open_house(settings.model_copy(update={"blob_url": s3_url})) as house:
        kept_one, erased = [await house.services.assets.upload(house.account, a_bitmap()) for _ in range(2)]
        await house.services.erasure.delete(house.account, [erased.request_id])
        (gone,) = await rows(house, "SELECT blob_key FROM assets WHERE state = 'gone'")
        await house.blobs.put(gone["blob_key"], b"as it was")
        s3.delete_object(Bucket=bucket_of(s3_url), Key=f"some/prefix/{gone['blob_key']}")
        found = await taken(house)
        assert (found.lost, found.strays, found.removed) == (0, 0, 1)
        assert [kind for kind, key in kept(s3, s3_url) if "/house/" not in key] == ["Versions"]
        await house.services.assets.open(kept_one.name)


async def test_pages_of_one_find_what_one_page_finds(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(4):
        await house.services.assets.upload(house.account, a_bitmap())
    keys = sorted(await house.blobs.keys())
    for key in keys[1:3]:
        await house.blobs.delete(key)
    for kind in ("init_image", "upload", "voice"):
        await house.blobs.put(new_key(kind, ".png"), b"stray")
    whole = await all_of(house)
    monkeypatch.setattr("safelight.storage.blobs.PAGE", 1)
    monkeypatch.setattr(comparison, "PAGE", 1)
    assert await all_of(house) == whole
    assert (whole[0], len(whole[1]), whole[2]) == (5, 3, keys[1:3])


async def all_of(house: House) -> tuple[int, list[str], list[str]]:
    pages: list[Differences] = [each async for each in compare(house.database, house.blobs)]
    strays = [found.key for each in pages for found in each.strays]
    return sum(each.files for each in pages), strays, [key for each in pages for key in each.lost]
