"""Real money, where the operator names who charges it: a command or an address that is told what to charge and answers whether it did.

A row is written before anybody is asked, and the same id is told at every attempt, so that who charges can do it once; the deposit
is booked in the transaction that notes the answer. Knows no payment service and no card.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shlex
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import urlsplit

from safelight.errors import NoCredit, Unavailable, Unfetchable
from safelight.records import Account
from safelight.service.ledger import MILLION, move
from safelight.service.outbound import Outbound
from safelight.service.webhooks import signature
from safelight.settings import Settings
from safelight.storage.database import Database, Row

log = logging.getLogger(__name__)

HUNDREDTH = MILLION // 100  # nobody charges less
DECLINED_STATUS, DECLINED_EXIT = 402, 10  # a program that crashes exits with 1, and may have charged


class Payments:
    """``on`` where there is a hook."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings, self._database = settings, database
        self._hook = settings.charge_hook or ""
        host = urlsplit(self._hook).hostname if _is_address(self._hook) else None
        self._outbound = Outbound(settings.outbound_ports, [host] if host else [])

    @property
    def on(self) -> bool:
        return bool(self._hook)

    async def cover(self, account: Account, amount: int, purpose: str, charge: uuid.UUID) -> None:
        """Has what the wallet lacks charged, where there is a hook. Raises NoCredit or Unavailable."""
        row = await self._database.one("ledger.balance", account=account.id)
        missing = amount - (row["available"] if row else 0)
        if self.on and missing > 0:
            await self.charge(account, -(-missing // HUNDREDTH) * HUNDREDTH, purpose, charge)

    async def charge(self, account: Account, amount: int, purpose: str, charge: uuid.UUID) -> None:
        """Into the wallet, once for each ``charge``. Raises NoCredit where it was declined, Unavailable while nobody knows."""
        await self._database.run("purchases.intend", id=charge, account=account.id, amount=amount, purpose=purpose)
        state = await asyncio.shield(
            asyncio.create_task(self._settled(charge))
        )  # also where the caller leaves meanwhile
        if state == "declined":
            raise NoCredit("The payment was declined.")
        if state == "asked":
            raise Unavailable("It is not known yet whether the payment was made. It is asked for again, and made once.")

    async def resume(self) -> int:
        """Asks again about charges of which nobody knows the outcome; how many there were."""
        rows = await self._database.all("purchases.unknown") if self.on else []
        for row in rows:
            await self._settled(row["id"])
        return len(rows)

    async def _settled(self, charge: uuid.UUID) -> str:
        """How it stands once the hook was asked, unless that was known already."""
        row = await self._database.one("purchases.charge", id=charge)
        assert row is not None
        if row["state"] != "asked":
            return str(row["state"])
        await self._database.run("purchases.asked", id=charge)
        paid = await self._ask(row)
        if paid is None:
            log.warning("nobody knows whether charge %s was made", charge)
            return "asked"
        state = "paid" if paid else "declined"
        async with self._database.transaction() as tx:
            if await tx.run("purchases.end", id=charge, state=state) and paid:
                await move(tx, row["account_id"], f"deposit:{charge}", row["amount"], "paid in", row["purpose"])
        return state

    async def _ask(self, row: Row) -> bool | None:
        """Whether it was charged; None where the hook did not say."""
        body = json.dumps(self._told(row)).encode()
        assert self._settings.charge_secret is not None
        headers = signature(self._settings.charge_key, str(row["id"]), body)
        try:
            async with asyncio.timeout(self._settings.charge_seconds):
                return await (self._post if _is_address(self._hook) else self._run)(body, headers)
        except (TimeoutError, Unfetchable, OSError) as error:
            log.warning("the charge hook did not answer: %s", type(error).__name__)
            return None

    def _told(self, row: Row) -> dict[str, object]:
        return {
            "type": "charge",
            "timestamp": datetime.now(UTC).isoformat(),
            "data": {
                "id": str(row["id"]),
                "account": row["account_name"],
                "amount": f"{row['amount'] / MILLION:.2f}",
                "currency": self._settings.currency,
                "purpose": row["purpose"],
            },
        }

    async def _post(self, body: bytes, headers: Mapping[str, str]) -> bool | None:
        kind = {"Content-Type": "application/json"}
        seconds = self._settings.charge_seconds
        answer = await self._outbound.post(
            self._hook, field="charge_hook", body=body, headers=kind | dict(headers), seconds=seconds
        )
        return True if 200 <= answer.status < 300 else (False if answer.status == DECLINED_STATUS else None)

    async def _run(self, body: bytes, headers: Mapping[str, str]) -> bool | None:
        """The command reads the body and finds the headers in its environment: WEBHOOK_ID and so on."""
        told = {name.upper().replace("-", "_"): value for name, value in headers.items()}
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*shlex.split(self._hook), stdin=pipe, env={**os.environ, **told})
        try:
            await process.communicate(body)
        except asyncio.CancelledError:
            process.kill()
            raise
        return {0: True, DECLINED_EXIT: False}.get(process.returncode or 0)


def _is_address(hook: str) -> bool:
    return hook.startswith(("http://", "https://"))
