"""An account's own jobs, newest first and page by page. What was erased is not there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from safelight.errors import NotFound
from safelight.records import Account, Job, JobState, Task
from safelight.service.jobs import LARGEST_ID
from safelight.service.requests import job_of
from safelight.service.vault import Vault
from safelight.storage.database import Database

CHUNK = 200  # rows read at a time where words are searched
MOST_CHUNKS = 10  # then the page ends early, and its ``next`` goes on from there


@dataclass(frozen=True, slots=True)
class Filter:
    """Which jobs are wanted; what is None is not asked about."""

    states: Sequence[JobState] | None = None
    task: Task | None = None
    model: str | None = None  # the checkpoint that was really used
    since: datetime | None = None
    until: datetime | None = None
    words: str = ""  # all of them in the prompt, in any order and case


@dataclass(frozen=True, slots=True)
class Page:
    """``next`` is what to give as ``before`` for the page after this one; None where there is none."""

    jobs: Sequence[Job]
    next: int | None


class History:
    def __init__(self, database: Database, vault: Vault) -> None:
        self._database, self._vault = database, vault

    async def page(self, account: Account, wanted: Filter, *, before: int | None = None, limit: int = 20) -> Page:
        """Texts rest where no database can search them: words are looked for here, in so many jobs at most."""
        found: list[Job] = []
        size = CHUNK if wanted.words else limit + 1
        for _ in range(MOST_CHUNKS):
            jobs = await self._read(account, wanted, before or LARGEST_ID, size)
            found += [job for job in jobs if _says(job, wanted.words.lower().split())]
            if len(found) > limit:
                return Page(found[:limit], found[limit - 1].id)
            if len(jobs) < size:
                return Page(found, None)
            before = jobs[-1].id
        return Page(found, before)

    async def made(self, account: Account, skip: int, limit: int) -> tuple[int, list[Job]]:
        """Jobs whose outputs can be read, newest first: how many there are in all, and those of one page."""
        row = await self._database.one("jobs.count_made", account=account.id)
        return int(row["jobs"]) if row else 0, await self._opened(
            "jobs.made", account=account.id, skip=skip, limit=limit
        )

    async def _read(self, account: Account, wanted: Filter, before: int, size: int) -> list[Job]:
        return await self._opened(
            "jobs.page", account=account.id, before=before, limit=size, task=wanted.task, model=wanted.model, since=wanted.since,
            until=wanted.until, states=None if wanted.states is None else [state.value for state in wanted.states],
        )  # fmt: skip

    async def _opened(self, query: str, **values: object) -> list[Job]:
        while True:
            with suppress(NotFound):  # one was erased before its words were opened: it is not there any more
                rows = await self._database.all(query, **values)
                await self._vault.look_up([row["id"] for row in rows])
                return [job_of(row, await self._vault.text_of(row)) for row in rows]


def _says(job: Job, words: Sequence[str]) -> bool:
    if not words:
        return True
    told = " ".join(_texts(job)).lower()
    return all(word in told for word in words)


def _texts(job: Job) -> Iterator[str]:
    """What the caller wrote, whatever the job is for."""
    for name in ("prompt", "negative_prompt"):
        text = getattr(job.request, name, "")
        if isinstance(text, str):
            yield text
