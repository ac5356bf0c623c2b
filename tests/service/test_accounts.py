"""Accounts and keys."""

from __future__ import annotations

import dataclasses

import pytest

from safelight.errors import NotFound, Unauthorized
from safelight.service.accounts import new_secret, well_formed
from tests.house import House

pytestmark = pytest.mark.anyio


async def test_a_key_opens_its_account_until_it_is_revoked(house: House) -> None:
    accounts = house.services.accounts
    key, secret = await accounts.create_key("shop", "laptop")
    account = await accounts.authenticate(secret)
    assert (account.name, account.key_id) == ("shop", key.id)
    assert await accounts.any_keys()
    assert (await accounts.revoke_key(key.prefix)).revoked_at is not None
    with pytest.raises(Unauthorized):
        await accounts.authenticate(secret)
    assert not await accounts.any_keys()


async def test_two_keys_of_one_account(house: House) -> None:
    accounts = house.services.accounts
    first, _ = await accounts.create_key("shop")
    second, secret = await accounts.create_key("shop", "phone")
    assert first.account_id == second.account_id
    await accounts.revoke_key(str(first.id))
    assert (await accounts.authenticate(secret)).id == second.account_id
    listed = await accounts.list_keys()
    assert [(key.label, key.revoked_at is None) for key in listed] == [("", False), ("phone", True)]
    assert listed[1].last_used_at is not None
    assert dataclasses.replace(listed[1], last_used_at=None) == second


async def test_the_secret_is_nowhere_in_the_database(house: House) -> None:
    _, secret = await house.services.accounts.create_key("shop")
    async with house.database.pool.connection() as connection:
        cursor = await connection.execute("SELECT k::text AS text FROM keys k")
        rows = await cursor.fetchall()
    assert secret[12:] not in str(rows)


@pytest.mark.parametrize("key", ["", "slk_", "x", "slk_" + "A" * 49, "é" * 53, "\ud800", "slk_\x00" + "A" * 48])
async def test_what_is_no_key_is_refused(house: House, key: str) -> None:
    with pytest.raises(Unauthorized):
        await house.services.accounts.authenticate(key)


async def test_a_well_formed_but_unknown_key_is_refused(house: House) -> None:
    with pytest.raises(Unauthorized):
        await house.services.accounts.authenticate(new_secret())


def test_a_key_with_one_wrong_letter_is_not_well_formed() -> None:
    secret = new_secret()
    assert well_formed(secret)
    assert not any(
        well_formed(secret[:i] + ("a" if secret[i] != "a" else "b") + secret[i + 1 :]) for i in range(len(secret))
    )


@pytest.mark.parametrize("which", ["slk_", "999999", "", "nonsense"])
async def test_revoking_needs_one_key_to_be_meant(house: House, which: str) -> None:
    for _ in range(2):
        await house.services.accounts.create_key("shop")
    with pytest.raises(NotFound):
        await house.services.accounts.revoke_key(which)
    assert await house.services.accounts.any_keys()
