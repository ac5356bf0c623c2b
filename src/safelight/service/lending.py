"""Lends the keys of requests that are not stored, from the memory of the process that was asked to that of the one that works.

By notifications, which pass no table but may touch a disk: whoever asks sends a public key of its own, wrapped under the master key
so that nobody else can ask, and the answer is sealed for it (HPKE, RFC 9180). The private half never leaves its process, so that
what rests of either is noise.
"""

from __future__ import annotations

import asyncio
import base64
import logging
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from safelight.errors import Damaged, KeyLost, Unavailable
from safelight.service.errands import Errands
from safelight.service.seals import FOR_ONE_PROCESS, Seal
from safelight.service.vault import Vault
from safelight.storage.database import Database, Row

log = logging.getLogger(__name__)

ASK, LEND = "safelight_key_asked", "safelight_key_lent"  # channels
ASKED_TIMES, ASK_SECONDS = 10, 1.0  # how often, and how long each time, before the key is taken for lost


class Lending:
    """One for each process. Make it before the database is opened."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database, self._vault = database, vault
        self._secret = X25519PrivateKey.generate()
        self._answers: dict[int, asyncio.Future[Seal]] = {}
        self._borrowers: Counter[int] = Counter()
        self._errands = Errands("a key could not be lent")
        database.on(ASK, self._hear_asked)
        database.on(LEND, self._hear_lent)

    @asynccontextmanager
    async def borrowed(self, job: Row) -> AsyncIterator[None]:
        """While a job is worked on its key is here, where it rests nowhere. Raises KeyLost where nobody has it any more."""
        job_id = job["id"]
        if not job["unstored"] or (self._vault.held(job_id) and not self._borrowers[job_id]):
            yield
            return
        if not self._vault.held(job_id):
            self._vault.hold(job_id, await self._ask(job_id))
        self._borrowers[job_id] += 1
        try:
            yield
        finally:
            self._borrowers[job_id] -= 1
            if not self._borrowers[job_id]:
                del self._borrowers[job_id]
                self._vault.let_go(job_id)

    async def _ask(self, job_id: int) -> Seal:
        answer = self._answers.setdefault(job_id, asyncio.get_running_loop().create_future())
        try:
            for _ in range(ASKED_TIMES):
                await self._tell(ASK, self._question(job_id))
                with suppress(TimeoutError):
                    async with asyncio.timeout(ASK_SECONDS):
                        return await asyncio.shield(answer)
            raise KeyLost
        finally:
            self._answers.pop(job_id, None)

    def _question(self, job_id: int) -> str:
        masters = self._vault.masters
        wrapped = masters.wrap(self._secret.public_key().public_bytes_raw(), _place(job_id))
        return f"{job_id} {masters.current.hex()} {base64.b64encode(wrapped).decode()}"

    def _hear_asked(self, payload: str | None) -> None:
        """Whoever missed something asks again."""
        if payload is not None:
            self._errands.send(self._lend(payload))

    async def _lend(self, payload: str) -> None:
        job, mark, wrapped = payload.split()
        seal = self._vault.held(int(job))
        if seal is None:
            return
        try:
            raw = self._vault.masters.unwrap(bytes.fromhex(mark), base64.b64decode(wrapped), _place(int(job)))
            lent = FOR_ONE_PROCESS.encrypt(
                seal.key, X25519PublicKey.from_public_bytes(raw), info=_place(int(job)).encode()
            )
            await self._tell(LEND, f"{job} {base64.b64encode(lent).decode()}")
        except (Damaged, Unavailable):
            log.warning("the key of job %s was asked for and could not be lent", job)

    def _hear_lent(self, payload: str | None) -> None:
        """What was sealed for another process is passed over."""
        job, _, lent = (payload or "0").partition(" ")
        answer = self._answers.get(int(job))
        if answer is None or answer.done():
            return
        with suppress(InvalidTag):
            answer.set_result(
                Seal(FOR_ONE_PROCESS.decrypt(base64.b64decode(lent), self._secret, info=_place(int(job)).encode()))
            )

    async def _tell(self, channel: str, payload: str) -> None:
        await self._database.run("progress.notify", channel=channel, payload=payload)


def _place(job_id: int) -> str:
    return f"safelight key of {job_id}"
