"""Webhooks that are owed are kept until they are delivered, given up, or their job erased."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from safelight import commands
from safelight.errors import NotFound
from safelight.records import JobState
from safelight.service.outbox import PostedState
from tests.house import House, a_request
from tests.invariants import check_invariants
from tests.service.rows import rows

pytestmark = pytest.mark.anyio


async def owed(house: House) -> tuple[str, int]:
    """A webhook that is owed for a job that has ended, and the entry that may send it."""
    async with house.working():
        job = await house.finished(await house.submit(a_request(webhook="http://x/")))
    assert job.state is JobState.succeeded
    (row,) = await rows(house, "SELECT id, task_id FROM outbox")
    return str(row["id"]), row["task_id"]


async def test_a_delivery_is_tried_again_and_then_delivered(house: House) -> None:
    tries = []

    async def deliver(entry: int, about: str) -> None:
        delivery = await house.outbox.open(about, entry)
        assert delivery is not None
        tries.append((delivery.attempt, str(delivery.id), len(delivery.webhook_secret)))
        if len(tries) < 3:
            await house.outbox.postpone(delivery, 500, seconds=0.05)
        else:
            await house.outbox.delivered(delivery, 200)

    delivery_id, entry = await owed(house)
    house.queue.teach("webhooks", deliver)
    working = asyncio.create_task(house.queue.work(["webhooks"], concurrency=2))
    async with asyncio.timeout(60):
        while (await rows(house, "SELECT state FROM outbox")) == [{"state": "waiting"}]:
            await asyncio.sleep(0.05)
    working.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await working
    assert tries == [(0, delivery_id, 32), (1, delivery_id, 32), (2, delivery_id, 32)]
    assert await rows(house, "SELECT state, attempt, last_status FROM outbox") == [
        {"state": "delivered", "attempt": 3, "last_status": 200}
    ]
    assert await house.outbox.open(delivery_id, entry) is None
    await check_invariants(house.database, house.blobs)


async def test_a_delivery_is_given_up(house: House) -> None:
    delivery = await house.outbox.open(*await owed(house))
    assert delivery is not None
    await house.outbox.dead(delivery, None)
    await house.outbox.postpone(delivery, 500, seconds=0)
    assert await rows(house, "SELECT state, attempt FROM outbox") == [{"state": "dead", "attempt": 1}]
    assert (await house.services.overview.statistics()).webhooks_waiting == 0


async def test_an_erased_job_is_never_announced(house: House) -> None:
    delivery_id, entry = await owed(house)
    delivery = await house.outbox.open(delivery_id, entry)
    assert delivery is not None
    await house.services.erasure.delete(house.account, [delivery.job_id])
    assert await house.outbox.open(delivery_id, entry) is None


async def test_what_was_given_up_is_sent_again_under_the_same_id(house: House) -> None:
    delivery_id, entry = await owed(house)
    delivery = await house.outbox.open(delivery_id, entry)
    assert delivery is not None
    await house.outbox.dead(delivery, 503)
    (letter,) = await house.outbox.posted(house.account, PostedState.dead)
    assert (str(letter.id), letter.account, letter.attempt, letter.status) == (delivery_id, "tester", 1, 503)
    assert await commands.posted(house.settings, "tester", PostedState.dead, 1) == [letter]
    assert await commands.replay(house.settings, "tester", None) == 1
    again = await house.outbox.replay(house.account, delivery_id)
    assert (again.id, again.state, again.attempt, again.ended_at) == (letter.id, PostedState.waiting, 0, None)
    (row,) = await rows(house, "SELECT task_id FROM outbox")
    assert await house.outbox.open(delivery_id, entry) is None
    assert await house.outbox.open(delivery_id, row["task_id"]) is not None
    assert await house.outbox.posted(house.account, PostedState.dead) == []
    await check_invariants(house.database, house.blobs)


async def test_of_an_erased_job_nothing_is_listed_kept_or_sent_again(house: House) -> None:
    delivery_id, entry = await owed(house)
    delivery = await house.outbox.open(delivery_id, entry)
    assert delivery is not None
    await house.outbox.dead(delivery, 503)
    await house.services.erasure.delete(house.account, [delivery.job_id])
    assert await house.outbox.posted(None) == []
    assert await rows(house, "SELECT state, last_status FROM outbox") == [{"state": "dead", "last_status": None}]
    stranger = await house.services.accounts.create_account("stranger")
    for account, which in ((house.account, delivery_id), (stranger, delivery_id), (house.account, "no uuid")):
        with pytest.raises(NotFound):
            await house.outbox.replay(account, which)


async def test_a_delivery_whose_sender_died_is_given_to_another(house: House) -> None:
    delivery_id, _ = await owed(house)
    async with house.database.pool.connection() as connection:
        await connection.execute("UPDATE procrastinate_jobs SET status = 'doing' WHERE queue_name = 'webhooks'")
    await asyncio.sleep(house.settings.stalled_seconds)  # a database that has just come back is given time
    assert await house.rescue.stranded() == 1
    assert await house.rescue.stranded() == 0
    entries = await rows(
        house, "SELECT status::text, args FROM procrastinate_jobs WHERE queue_name = 'webhooks' ORDER BY id"
    )
    assert entries == [
        {"status": "failed", "args": {"about": delivery_id}},
        {"status": "todo", "args": {"about": delivery_id}},
    ]
