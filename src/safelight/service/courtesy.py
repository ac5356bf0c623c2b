"""Lets a worker that has a job's checkpoint in memory have the job: whoever fetched it and would have to load it offers it to
that one, and waits a moment before taking it after all. So nothing waits long for anybody.

Knows neither checkpoints nor engines: what a job needs and what is in memory is told.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence

from safelight.errors import KeyLost, NotFound, Unavailable
from safelight.records import JobRequest
from safelight.service.pulse import Pulse, loaded
from safelight.service.requests import from_json
from safelight.service.vault import Vault
from safelight.settings import Settings
from safelight.storage.database import Database, Row

log = logging.getLogger(__name__)

HEAD_START = 1.0  # seconds
MOST_AHEAD = 10.0  # seconds of work with which nothing is taken: loading the checkpoint elsewhere may be sooner
OFFERED = "safelight_offered"

Needs = Callable[[JobRequest], Awaitable[str | None]]
Take = Callable[[int, int], Coroutine[None, None, None]]  # an entry of the queue and the job that it is about


async def needs_nothing(_request: JobRequest) -> str | None:
    return None


class Courtesy:
    """Of the worker of that name. Make it before the database is opened, so that it hears what it is offered.

    ``pulse`` is this engine's own, and ``take`` makes a job and never raises. One that makes no pictures has no ``needs``.
    """

    def __init__(
        self, settings: Settings, database: Database, vault: Vault, name: str, *,
        needs: Needs, pulse: Callable[[], Pulse], take: Take,
    ) -> None:  # fmt: skip
        self._settings, self._database, self._vault, self._name = settings, database, vault, name
        self._needs, self._pulse, self._take = needs, pulse, take
        self._others: Sequence[Row] = ()
        self._taken: set[asyncio.Task[None]] = set()
        self._ended = False
        database.on(OFFERED, self._hear)

    async def look(self) -> None:
        """What the others have in memory, as they last said."""
        rows = await self._database.all("jobs.nodes", stalled=self._settings.stalled_seconds)
        self._others = [row for row in rows if row["name"] != self._name]

    async def offer(self, entry: int, job_id: int) -> None:
        """Returns at once where nobody else has what it needs; else when they had their chance."""
        try:
            taker = await self._taker(entry, job_id)
            if taker is not None:
                await self._database.run("jobs.offer", channel=OFFERED, told=f"{taker} {entry} {job_id}")
                await asyncio.sleep(HEAD_START)
        except (Unavailable, KeyLost, NotFound) as error:
            log.info("job %s is offered to nobody: %s", job_id, type(error).__name__)

    async def settle(self) -> None:
        """Offers nothing and takes nothing any more, and returns when what was taken has ended."""
        self._ended = True
        while self._taken:
            await asyncio.wait(self._taken)

    async def _taker(self, entry: int, job_id: int) -> str | None:
        """Of those who have in memory what it needs, and is not here, the one with least to do."""
        mine, theirs = loaded(self._pulse().checkpoints), [loaded(row["checkpoints"]) for row in self._others]
        if self._ended or not set[str]().union(*theirs) - mine:
            return None
        row = await self._database.one("jobs.waiting_text", id=job_id, entry=entry)
        text = None if row is None else await self._vault.text_of(row)
        wanted = None if text is None else await self._needs(from_json(text))
        if wanted in mine:
            return None
        able = [row for row in self._others if wanted in loaded(row["checkpoints"])]
        return min(able, key=lambda row: row["rows_waiting"], default={"name": None})["name"]

    def _hear(self, told: str | None) -> None:
        name, entry, job_id = (told or "- 0 0").split(" ")
        able = self._needs is not needs_nothing and not self._ended
        if name == self._name and able and self._pulse().seconds_ahead < MOST_AHEAD:
            task = asyncio.create_task(self._take(int(entry), int(job_id)))
            self._taken.add(task)
            task.add_done_callback(self._taken.discard)
