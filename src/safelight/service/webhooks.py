"""Tells callers that a job has ended, by the schedule and with the signature of Standard Webhooks 1.0.0.

What is sent is rendered from the live job at the moment of sending, so that nothing erased is ever announced. Knows nothing of
how a dialect words it: the renderers are handed in by name of dialect.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from safelight.errors import NotFound, Unfetchable
from safelight.records import Account, Job, JobRequest
from safelight.service.assets import Assets
from safelight.service.jobs import Jobs
from safelight.service.outbound import Answer, Outbound
from safelight.service.outbox import Delivery, Outbox
from safelight.settings import Settings
from safelight.storage.database import Database

log = logging.getLogger(__name__)

Renderer = Callable[[Job, list[str]], dict[str, Any]]

_MINUTE, _HOUR = 60.0, 3600.0
WAITS = (
    5.0,
    5 * _MINUTE,
    30 * _MINUTE,
    *(hours * _HOUR for hours in (2, 5, 10, 14, 20, 24)),
)  # after each failure but the last
_LONGEST_WAIT = 24 * _HOUR  # whatever the receiver asks for
_SHARE = 4  # deliveries that one account may have under way; a silent receiver holds up nobody else's
_TURN_SECONDS = 10.0  # until an account that has its share under way may try the next
_GONE = 410


class Webhooks:
    """Runs the entries of the queue of webhooks."""

    def __init__(
        self,
        settings: Settings,
        outbox: Outbox,
        jobs: Jobs,
        assets: Assets,
        outbound: Outbound,
        renderers: Mapping[str, Renderer],
    ) -> None:
        self._settings, self._outbox, self._jobs, self._assets = settings, outbox, jobs, assets
        self._outbound, self._renderers = outbound, renderers
        self._under_way: Counter[int] = Counter()

    async def deliver(self, entry: int, delivery_id: str) -> None:
        """One attempt, if ``entry`` still stands for this delivery and its account's share is not used up."""
        delivery = await self._outbox.open(delivery_id, entry)
        if delivery is None:
            return
        if self._under_way[delivery.account_id] >= _SHARE:
            await self._outbox.defer(delivery, _TURN_SECONDS)
            return
        with self._counted(delivery.account_id):
            await self._attempt(delivery)

    async def _attempt(self, delivery: Delivery) -> None:
        told = await self._told(delivery)
        if told is None:
            await self._outbox.dead(delivery, None)
            return
        address, body = told
        await self._settle(delivery, await self._send(address, delivery, body))

    async def _told(self, delivery: Delivery) -> tuple[str, bytes] | None:
        """Where it goes and what it says, as far as that is not erased."""
        account = Account(delivery.account_id, "")
        try:
            job = await self._jobs.get(account, delivery.job_id)
            said = await self._assets.texts(account, job)
        except NotFound:
            return None
        if job.request is None or not job.request.webhook:
            return None
        body = self._renderers[job.request.dialect](job, said or self._urls(job, job.request))
        return job.request.webhook, json.dumps(body).encode()

    async def _send(self, address: str, delivery: Delivery, body: bytes) -> Answer | None:
        headers = {"Content-Type": "application/json"} | signature(delivery.webhook_secret, str(delivery.id), body)
        try:
            return await self._outbound.post(
                address, field="webhook", body=body, headers=headers, seconds=self._settings.webhook_seconds
            )
        except Unfetchable as failure:
            log.info("webhook %s of job %s: %s", delivery.id, delivery.job_id, failure.rule)
            return None

    async def _settle(self, delivery: Delivery, answer: Answer | None) -> None:
        status = answer.status if answer else None
        if status is not None and 200 <= status < 300:
            await self._outbox.delivered(delivery, status)
        elif status == _GONE or delivery.attempt >= len(WAITS):
            log.warning("webhook %s of job %s is given up, last status %s", delivery.id, delivery.job_id, status)
            await self._outbox.dead(delivery, status)
        else:
            asked = (answer and answer.retry_after) or 0.0
            await self._outbox.postpone(delivery, status, max(WAITS[delivery.attempt], min(asked, _LONGEST_WAIT)))

    def _urls(self, job: Job, request: JobRequest) -> list[str]:
        folder = "temp" if request.temp else "generations"
        return [f"{self._settings.base_url}/{folder}/{name}" for name in self._assets.output_names(job)]

    @contextmanager
    def _counted(self, account_id: int) -> Iterator[None]:
        self._under_way[account_id] += 1
        try:
            yield
        finally:
            self._under_way[account_id] -= 1


def signature(secret: bytes, message_id: str, body: bytes) -> dict[str, str]:
    """The three headers; the id is the same at every attempt, the time is this attempt's."""
    now = str(int(time.time()))
    digest = hmac.digest(secret, b".".join((message_id.encode(), now.encode(), body)), hashlib.sha256)
    signed = f"v1,{base64.b64encode(digest).decode()}"
    return {"webhook-id": message_id, "webhook-timestamp": now, "webhook-signature": signed}


async def secret_of(database: Database, account: str) -> str:
    """What the receivers of the named account verify with. Raises NotFound."""
    row = await database.one("webhooks.secret", account=account)
    if row is None:
        raise NotFound
    return shown(row["webhook_secret"])


def shown(secret: bytes) -> str:
    """An account's secret as libraries of Standard Webhooks take it."""
    return f"whsec_{base64.b64encode(secret).decode()}"
