"""Webhooks from a real outbox to a real receiver: signature, schedule, giving up, and silence about what was erased."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from safelight.errors import NotFound
from safelight.records import Account, Job, JobState
from safelight.service.outbound import Outbound
from safelight.service.webhooks import WAITS, Webhooks, secret_of, shown, signature
from safelight.settings import Settings
from safelight.storage.queue import WEBHOOKS
from tests.house import House, a_request
from tests.service.receiver import Received, answer, endless, hang, raw, receiver, redirect, reset

pytestmark = pytest.mark.anyio


def render(job: Job, urls: list[str]) -> dict[str, Any]:
    track_id = job.request.track_id if job.request else None
    return {"status": job.state.value, "id": job.id, "output": urls, "track_id": track_id, "error": job.error}


def sender(house: House, *, private: bool = True, **given: object) -> Webhooks:
    settings = house.settings.model_copy(update={"webhook_seconds": 0.3} | given)
    outbound = Outbound(settings.outbound_ports, ["127.0.0.1"] if private else [])
    return Webhooks(settings, house.outbox, house.services.jobs, house.services.assets, outbound, {"modelslab": render})


@dataclass(frozen=True)
class Owed:
    """A row of the outbox, and when its entry in the queue is due."""

    id: str
    state: str
    attempt: int
    task_id: int
    last_status: int | None
    secret: bytes
    due: datetime | None

    @property
    def waits(self) -> float:
        return (self.due - datetime.now(UTC)).total_seconds() if self.due else 0.0


async def owed(house: House, job: Job) -> Owed:
    query = """SELECT o.id::text, o.state, o.attempt, o.task_id, o.last_status, a.webhook_secret, p.scheduled_at
        FROM outbox o JOIN accounts a ON a.id = o.account_id JOIN procrastinate_jobs p ON p.id = o.task_id
        WHERE o.job_id = %s"""
    async with house.database.pool.connection() as connection:
        row = await (await connection.execute(query, [job.id])).fetchone()
    assert row is not None
    return Owed(*row.values())


async def ended(house: House, url: str, **parts: Any) -> Job:
    async with house.working():
        return await house.finished(await house.submit(a_request(webhook=url, **parts)))


async def attempt(house: House, job: Job, webhooks: Webhooks | None = None) -> Owed:
    """One attempt now, whenever it is due, and what is owed after it."""
    before = await owed(house, job)
    await (webhooks or sender(house)).deliver(before.task_id, before.id)
    return await owed(house, job)


def verified(received: Received, secret: bytes) -> Any:
    return Webhook(shown(secret)).verify(received.body, received.headers)


async def test_success_is_told_once_signed_and_with_the_track_id(house: House) -> None:
    async with receiver(answer(status=204)) as here:
        job = await ended(house, f"{here.url}/hook", track_id=77, samples=2)
        after = await attempt(house, job)
        assert (after.state, after.attempt, after.last_status) == ("delivered", 1, 204)
        assert verified(here.received[0], after.secret) == {
            "status": "succeeded",
            "id": job.id,
            "output": [f"{house.settings.base_url}/generations/{job.file_prefix}-{n}.png" for n in (0, 1)],
            "track_id": 77,
            "error": None,
        }
        assert here.received[0].line == "POST /hook HTTP/1.1"
        assert here.received[0].headers["content-type"] == "application/json"
        assert here.received[0].headers["webhook-id"] == after.id
        await sender(house).deliver(after.task_id, after.id)
        assert here.connections == 1


async def test_failure_is_told_too(house: House) -> None:
    house.painter.wrong = lambda generation: ValueError("CANARY")
    async with receiver() as here:
        job = await ended(house, here.url, track_id="mine")
        await attempt(house, job)
        body = json.loads(here.received[0].body)
        assert (body["status"], body["track_id"], body["output"]) == ("failed", "mine", [])
        assert "CANARY" not in here.received[0].body.decode()


async def test_temporary_pictures_are_named_where_they_lie(house: House) -> None:
    async with receiver() as here:
        job = await ended(house, here.url, temp=True)
        await attempt(house, job)
        assert json.loads(here.received[0].body)["output"] == [
            f"{house.settings.base_url}/temp/{job.file_prefix}-0.png"
        ]


def test_a_signature_fits_its_body_its_id_and_its_secret_alone() -> None:
    headers = signature(bytes(32), "one", b'{"a":1}')
    Webhook(shown(bytes(32))).verify(b'{"a":1}', headers)
    for secret, body, more in (
        (bytes(32), b'{"a":2}', {}),
        (bytes(31) + b"\1", b'{"a":1}', {}),
        (bytes(32), b'{"a":1}', {"webhook-id": "two"}),
    ):
        with pytest.raises(WebhookVerificationError):
            Webhook(shown(secret)).verify(body, headers | more)


async def test_every_account_has_a_secret_of_its_own(house: House) -> None:
    await house.services.accounts.create_account("second")
    async with house.database.pool.connection() as connection:
        rows = await (await connection.execute("SELECT webhook_secret FROM accounts")).fetchall()
    assert len({row["webhook_secret"] for row in rows}) == len(rows) == 2
    assert {len(row["webhook_secret"]) for row in rows} == {32}
    assert await secret_of(house.database, "second") in {shown(row["webhook_secret"]) for row in rows}
    with pytest.raises(NotFound):
        await secret_of(house.database, "third")


async def test_a_receiver_that_recovers_is_told_under_the_same_id(house: House) -> None:
    async with receiver(answer(status=500), answer(status=503), answer()) as here:
        job = await ended(house, here.url)
        first, second, third = [await attempt(house, job) for _ in range(3)]
        assert [first.state, second.state, third.state] == ["waiting", "waiting", "delivered"]
        assert (first.last_status, second.last_status, third.last_status) == (500, 503, 200)
        assert 3 < first.waits <= 5
        assert 290 < second.waits <= 300
        assert len({request.headers["webhook-id"] for request in here.received}) == 1
        for request in here.received:
            verified(request, third.secret)


async def test_failures_are_tried_again(house: House) -> None:
    failures = {
        hang: None,
        reset: None,
        redirect("http://127.0.0.1:1/"): 302,
        redirect("/x", 307): 307,
        answer(status=404): 404,
        raw(b"SSH-2.0\r\n"): None,
    }
    async with receiver(*failures, endless(b"HTTP/1.1 200 OK\r\n\r\n")) as here:
        job = await ended(house, here.url)
        for number, status in enumerate(failures.values(), start=1):
            after = await attempt(house, job)
            assert (after.state, after.attempt, after.last_status) == ("waiting", number, status)
        assert (await attempt(house, job)).state == "delivered"
        assert here.connections == len(failures) + 1


async def test_410_ends_it_at_once(house: House) -> None:
    async with receiver(answer(status=410)) as here:
        after = await attempt(house, await ended(house, here.url))
        assert (after.state, after.attempt, after.last_status) == ("dead", 1, 410)


async def test_retry_after_is_honoured_within_reason(house: House) -> None:
    asked = {"100": (95, 100), "400": (395, 400), "1": (1795, 1800), "9999999": (86395, 86400), "x": (17995, 18000)}
    async with receiver(*(answer(status=429, retry_after=value) for value in asked)) as here:
        job = await ended(house, here.url)
        for least, most in asked.values():
            assert least < (await attempt(house, job)).waits <= most


async def test_the_whole_schedule_and_then_the_dead_letter(house: House) -> None:
    assert [timedelta(seconds=wait) for wait in WAITS] == [
        timedelta(seconds=5),
        timedelta(minutes=5),
        timedelta(minutes=30),
        *(timedelta(hours=hours) for hours in (2, 5, 10, 14, 20, 24)),
    ]
    async with receiver(answer(status=500)) as here:
        job = await ended(house, here.url)
        for number, wait in enumerate(WAITS, start=1):
            after = await attempt(house, job)
            assert (after.state, after.attempt) == ("waiting", number)
            assert wait - 3 < after.waits <= wait
        final = await attempt(house, job)
        assert (final.state, final.attempt, final.last_status) == ("dead", 10, 500)
        assert here.connections == 10


async def test_private_receivers_are_refused_when_it_is_sent(house: House) -> None:
    async with receiver() as canary:
        job = await ended(house, canary.url)
        ports = frozenset({canary.port})
        after = await attempt(house, job, sender(house, private=False, outbound_ports=ports))
        assert (after.state, after.last_status, canary.connections) == ("waiting", None, 0)


async def test_nothing_is_sent_of_a_job_erased_meanwhile(house: House) -> None:
    async with receiver(answer(status=500)) as here:
        job = await ended(house, here.url)
        after = await attempt(house, job)
        await house.services.erasure.delete(house.account, [job.id])
        await sender(house).deliver(after.task_id, after.id)
        assert (await owed(house, job)).state == "cancelled"
        assert here.connections == 1


@pytest.mark.parametrize(
    "loss", ["DELETE FROM requests WHERE job_id = %s", "UPDATE jobs SET erased_at = now() WHERE id = %s"]
)
async def test_an_event_without_its_job_is_dropped(house: House, loss: str) -> None:
    async with receiver() as here:
        job = await ended(house, here.url)
        async with house.database.pool.connection() as connection:
            await connection.execute(loss.encode(), [job.id])
        assert (await attempt(house, job)).state == "dead"
        assert here.connections == 0


async def test_an_entry_whose_place_was_taken_does_nothing(house: House) -> None:
    async with receiver(answer(status=500), answer()) as here:
        job = await ended(house, here.url)
        before = await owed(house, job)
        await attempt(house, job)
        await sender(house).deliver(before.task_id, before.id)
        assert (await owed(house, job)).attempt == 1
        assert here.connections == 1


async def test_without_a_webhook_nothing_is_owed(house: House) -> None:
    async with house.working():
        await house.finished(await house.submit(a_request()))
    async with house.database.pool.connection() as connection:
        assert await (await connection.execute("SELECT id FROM outbox")).fetchall() == []


@asynccontextmanager
async def sending(house: House, webhooks: Webhooks) -> AsyncIterator[None]:
    house.queue.teach(WEBHOOKS, webhooks.deliver)
    work = asyncio.create_task(house.queue.work([WEBHOOKS], concurrency=16))
    try:
        yield
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


async def settled(house: House, job: Job) -> Owed:
    async with asyncio.timeout(60):
        while (now := await owed(house, job)).state == "waiting":
            await asyncio.sleep(0.05)
    return now


async def test_by_the_real_queue_after_a_real_wait(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("safelight.service.webhooks.WAITS", (0.2, 0.2, 0.2))
    async with receiver(answer(status=500), answer()) as here:
        job = await ended(house, here.url)
        async with sending(house, sender(house)):
            assert (await settled(house, job)).attempt == 2
        assert len({request.headers["webhook-id"] for request in here.received}) == 1
        assert here.most_at_once == 1


async def test_a_silent_receiver_holds_up_nobody_else(house: House) -> None:
    second = await house.services.accounts.create_account("second")
    async with receiver(hang) as silent, receiver() as quick, house.working():
        slow = [await house.submit(a_request(webhook=silent.url)) for _ in range(16)]
        for job in slow:
            await house.finished(job)
        async with sending(house, sender(house, webhook_seconds=30.0)):
            job = await done_for(house, second, quick.url)
            begin = datetime.now(UTC)
            assert (await settled(house, job)).state == "delivered"
            assert datetime.now(UTC) - begin < timedelta(seconds=10)
            assert silent.most_at_once == 4
            silent.script = [answer()]
            await silent.let_go()


async def done_for(house: House, account: Account, url: str) -> Job:
    job = await house.services.jobs.submit(account, a_request(webhook=url))
    done = await house.services.jobs.wait(account, job.id, 20)
    assert done.state is JobState.succeeded
    return done


async def test_the_settings_time_is_the_receivers_time(house: House, settings: Settings) -> None:
    assert settings.webhook_seconds == 15.0
    async with receiver(hang) as here:
        job = await ended(house, here.url)
        async with asyncio.timeout(60):
            await attempt(house, job, sender(house, webhook_seconds=0.1))
