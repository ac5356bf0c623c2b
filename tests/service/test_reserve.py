"""What is held back for deleting, on a disk that says it is full; one that is full is in ``tests/crashes``."""

from __future__ import annotations

import pytest

from safelight.errors import Unavailable
from safelight.storage import reserve
from safelight.storage.database import Transaction
from safelight.storage.reserve import Reserve
from tests.house import House, a_bitmap
from tests.service.rows import count

pytestmark = pytest.mark.anyio


@pytest.fixture
def held(house: House, monkeypatch: pytest.MonkeyPatch) -> Reserve:
    monkeypatch.setattr(reserve, "BYTES", 4096)
    house.services.erasure.reserve.hold()
    return house.services.erasure.reserve


def no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Reserve, "_free", lambda self: 0)


async def test_it_is_let_go_where_the_disk_is_full_and_comes_back(
    house: House, held: Reserve, monkeypatch: pytest.MonkeyPatch
) -> None:
    held.let_go()
    assert not held.is_out
    with monkeypatch.context() as full:
        no_room(full)
        held.let_go()
        assert Reserve(house.settings.data_dir).is_out
        await house.reconciler.keep_up()
        for taking_in in (house.submit(), house.services.assets.upload(house.account, a_bitmap())):
            with pytest.raises(Unavailable, match="disk of this server is full"):
                await taking_in
    await house.reconciler.keep_up()
    assert (await house.submit()).id
    assert await count(house, "jobs") == 1


async def test_a_deletion_that_finds_no_room_is_made_with_what_was_held(
    house: House, held: Reserve, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, execute = await house.submit(), Transaction._execute

    async def full(self: Transaction, query: str, values: dict[str, object]) -> object:
        if query == "erasure.add_receipt" and not held.is_out:
            raise Unavailable
        return await execute(self, query, values)

    monkeypatch.setattr(Transaction, "_execute", full)
    no_room(monkeypatch)
    receipt = await house.services.erasure.delete(house.account, [job.id])
    assert receipt.request_ids == (job.id,)
    assert held.is_out
