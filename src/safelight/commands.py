"""What an operator's commands do to a house, beside serving and working: on the running server's database, or on the embedded one,
started for a moment. Knows nothing of how they are typed or how their results are shown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TypeVar

from safelight.checkpoints import named_checkpoints
from safelight.errors import SetupFailed
from safelight.ground import Ground, database_address, make_erasure, opened, prepare
from safelight.records import Account, Key, Limits, Receipt
from safelight.service.accounts import Accounts
from safelight.service.additions import Additions
from safelight.service.batches import Wanted, Weight
from safelight.service.catalogue import Catalogue
from safelight.service.erasure import Erasure, Note
from safelight.service.ledger import AccountRow, Ledger, Wallet
from safelight.service.outbox import Outbox, Posted, PostedState
from safelight.service.retention import Limit, Retention
from safelight.service.webhooks import secret_of
from safelight.settings import Settings
from safelight.storage import postgres
from safelight.storage.migrate import migrate

MOST_REPLAYED = 100_000  # at a time
MOST_CREDIT = 10**9  # at a time; a wallet's column takes nine thousand times that
Answer = TypeVar("Answer")


async def on_ground(settings: Settings, ask: Callable[[Ground], Awaitable[Answer]]) -> Answer:
    running = settings.database_url or postgres.find(settings.data_dir)
    with database_address(settings.model_copy(update={"database_url": running})) as address:
        await asyncio.to_thread(migrate, address)
        ground = prepare(settings, address)
        async with opened(ground):
            return await ask(ground)


async def create_key(settings: Settings, account: str, label: str, *, operator: bool) -> tuple[Key, str]:
    return await on_ground(
        settings, lambda ground: Accounts(ground.database).create_key(account, label, operator=operator)
    )


async def list_keys(settings: Settings) -> list[Key]:
    return await on_ground(settings, lambda ground: Accounts(ground.database).list_keys())


async def revoke_key(settings: Settings, key: str) -> Key:
    return await on_ground(settings, lambda ground: Accounts(ground.database).revoke_key(key))


async def list_accounts(settings: Settings) -> list[AccountRow]:
    return await on_ground(settings, lambda ground: Ledger(settings, ground.database).accounts())


async def credit_account(settings: Settings, account: str, amount: str, note: str) -> Wallet:
    try:
        parsed = Decimal(amount)
    except InvalidOperation:
        parsed = Decimal("nan")
    if not parsed.is_finite() or not 0 < abs(parsed) < MOST_CREDIT:
        raise SetupFailed(f"{amount} is not an amount of money.")
    return await on_ground(settings, lambda ground: Ledger(settings, ground.database).credit(account, parsed, note))


async def give_plan(settings: Settings, account: str, plan: str) -> None:
    await on_ground(settings, lambda ground: Ledger(settings, ground.database).give_plan(account, plan))


async def limit_account(settings: Settings, account: str, jobs: int | None, space: int | None) -> Limits:
    return await on_ground(settings, lambda ground: Accounts(ground.database).limit(account, jobs, space))


async def limit_retention(settings: Settings, account: str, seconds: float | None, key: int) -> None:
    """Lifted where no seconds are given. What is kept already hears of it."""

    async def change(ground: Ground) -> None:
        accounts = Accounts(ground.database)
        owner = await accounts.named(account)
        if key:
            await accounts.own_key(owner, key)
        await _retention(ground).limit(owner, seconds, key_id=key, set_by="operator")

    await on_ground(settings, change)


async def store(settings: Settings, account: str, stores: bool, key: int) -> None:
    async def change(ground: Ground) -> None:
        accounts = Accounts(ground.database)
        await accounts.store(await accounts.named(account), stores, key)

    await on_ground(settings, change)


async def retention(settings: Settings, account: str) -> list[Limit]:
    async def ask(ground: Ground) -> list[Limit]:
        return await _retention(ground).limits(await Accounts(ground.database).named(account))

    return await on_ground(settings, ask)


def _retention(ground: Ground) -> Retention:
    return Retention(ground.settings, ground.database, make_erasure(ground))


async def added_checkpoints(settings: Settings) -> dict[str, Path]:
    """By name; none where there is no house yet."""
    if settings.database_url is None and not (settings.data_dir / "postgres").exists():
        return {}
    found = await on_ground(settings, lambda ground: Additions(settings, ground.database).all())
    return {each.name: each.path for each in found}


async def add_checkpoint(settings: Settings, name: str, path: Path) -> None:
    named = named_checkpoints(settings)
    await on_ground(settings, lambda ground: Additions(named, ground.database).add(name, path.absolute()))


async def remove_checkpoint(settings: Settings, name: str) -> None:
    await on_ground(settings, lambda ground: Additions(settings, ground.database).remove(name))


async def list_aliases(settings: Settings) -> list[tuple[str, str]]:
    return await on_ground(settings, lambda ground: Catalogue(settings, ground.database).aliases())


async def set_alias(settings: Settings, pattern: str, model: str | None) -> None:
    """Forgotten where no model is given."""
    named = named_checkpoints(settings)

    async def change(ground: Ground) -> None:
        catalogue = Catalogue(named, ground.database)
        await (catalogue.remove_alias(pattern) if model is None else catalogue.set_alias(pattern, model))

    await on_ground(settings, change)


async def webhook_secret(settings: Settings, account: str) -> str:
    return await on_ground(settings, lambda ground: secret_of(ground.database, account))


async def posted(settings: Settings, account: str | None, state: PostedState, limit: int) -> Sequence[Posted]:
    async def ask(ground: Ground) -> Sequence[Posted]:
        return await Outbox(ground.database, ground.queue).posted(await _owner(ground, account), state, limit=limit)

    return await on_ground(settings, ask)


async def replay(settings: Settings, account: str | None, ids: Sequence[str] | None) -> int:
    """These, or where none are named all that were given up; how many."""

    async def ask(ground: Ground) -> int:
        outbox, owner = Outbox(ground.database, ground.queue), await _owner(ground, account)
        found = ids or [str(each.id) for each in await outbox.posted(owner, PostedState.dead, limit=MOST_REPLAYED)]
        return len([await outbox.replay(owner, each) for each in found])

    return await on_ground(settings, ask)


async def _owner(ground: Ground, account: str | None) -> Account | None:
    return await Accounts(ground.database).named(account) if account else None


async def rotate_master(settings: Settings, note: Callable[[int, int], None]) -> int:
    """How many keys are wrapped anew."""

    async def rotate(ground: Ground) -> int:
        await ground.vault.open(may_make=True)
        return await ground.vault.rotate(note)

    return await on_ground(settings, rotate)


async def erase(settings: Settings, account: str, ids: list[int], wanted: Wanted, note: Note) -> Receipt:
    """These requests of an account, all or none, or where none are named all that is wanted."""

    async def do(ground: Ground) -> Receipt:
        erasure, owner = await _erasure(ground), await Accounts(ground.database).named(account)
        await erasure.batches.check(owner, ids)
        found = ids or await erasure.batches.meant(owner, wanted)
        return await erasure.delete_watched(owner, found, "jobs" if ids else "filter", note)

    return await on_ground(settings, do)


async def weigh(settings: Settings, account: str, ids: list[int], wanted: Wanted) -> Weight:
    """What ``erase`` would erase."""

    async def do(ground: Ground) -> Weight:
        erasure, owner = await _erasure(ground), await Accounts(ground.database).named(account)
        await erasure.batches.check(owner, ids)
        return await erasure.batches.weigh(owner, ids or await erasure.batches.meant(owner, wanted))

    return await on_ground(settings, do)


async def erase_account(settings: Settings, account: str, note: Note) -> None:
    async def do(ground: Ground) -> None:
        await (await _erasure(ground)).close(await Accounts(ground.database).named(account), note)

    await on_ground(settings, do)


async def _erasure(ground: Ground) -> Erasure:
    await ground.vault.open()
    erasure = make_erasure(ground)
    await erasure.replay.open()
    return erasure
