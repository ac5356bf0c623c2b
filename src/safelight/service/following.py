"""Following jobs while they wait and are made, however many listen: one connection for notifications, one look at the rows a second.

A follower is owed the newest news only, so one that is slow misses steps and holds nobody up; the end is read from the job's own
row, by every follower for itself, so that nothing of an erased job is told. Knows nothing of how it is told to callers.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass, field, replace

from safelight.errors import Unauthorized, Unavailable
from safelight.records import Account, Job, JobState, Standing
from safelight.service.errands import Errands
from safelight.service.jobs import Jobs
from safelight.service.progress import PREVIEW, STEPS, WATCH, Ear, Step, Watch, read_steps, write_watch
from safelight.service.revocation import CHANNEL as REVOKED
from safelight.service.speed import UNMEASURED
from safelight.service.telling import WATCH_SECONDS
from safelight.storage.database import Database, Row

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0  # between two looks at the rows
AT_ONCE = 4  # questions about single jobs, so that a crowd of followers leaves connections to others
GLANCE_SECONDS = 10.0  # how long a job is followed after somebody glanced at it


@dataclass(eq=False)
class Follower:
    previews: bool
    key: int | None = None  # that the follower came with
    news: asyncio.Event = field(default_factory=asyncio.Event)
    doubtful: bool = True  # what the row says must be read before more is told
    suspect: bool = True  # and whether the key still stands


@dataclass(eq=False)
class Followed:
    """What is known here of one job, for all who follow it."""

    followers: set[Follower] = field(default_factory=set)
    looked: asyncio.Event = field(default_factory=asyncio.Event)
    row: Row | None = None
    step: Step | None = None
    preview: bytes | None = None
    seconds_left: float = 0.0

    def standing(self, job: Job, *, previews: bool) -> Standing:
        """The later of what the row said and what the worker did."""
        row, step = self.row, self.step
        if row is None:
            return _of_row(job)
        now = Standing(
            job, JobState(row["state"]), row["attempt"], row["step"], row["steps"], row["place"], self.seconds_left
        )
        if step is not None and (step.attempt, step.step) >= (now.attempt, now.step):
            now = replace(now, state=JobState.running, attempt=step.attempt, step=step.step, steps=step.steps, place=0)
        return replace(now, preview=self.preview) if previews and now.state is JobState.running else now

    def look_at(self, row: Row, seconds_left: float) -> None:
        """What the row says now. A job that went back to the queue begins anew."""
        if row["state"] == "queued" and self.row and self.row["state"] == "running":
            self.step = self.preview = None
        self.row, self.seconds_left = row, seconds_left

    def wake(self, *, doubtful: bool = False) -> None:
        for follower in self.followers:
            follower.doubtful |= doubtful
            follower.news.set()


class Following:
    """One for each serving process. Make it before the database is opened."""

    def __init__(self, database: Database, jobs: Jobs) -> None:
        self._database, self._jobs = database, jobs
        self._ear = Ear()
        self._followed: dict[int, Followed] = {}
        self._glanced: dict[int, tuple[Follower, asyncio.TimerHandle]] = {}
        self._keeper: asyncio.Task[None] | None = None
        self._poked = asyncio.Event()
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._errands = Errands("a preview is not shown")
        self._closed = False
        database.on(STEPS, self._hear_steps)
        database.on(PREVIEW, self._hear_preview)
        database.on("safelight_done", self._hear_end)
        database.on(REVOKED, self._hear_of_revoked)

    async def follow(self, account: Account, job_id: int, *, previews: bool = False) -> AsyncGenerator[Standing, None]:
        """How the job stands, now and whenever there is news; the last one is final. Raises NotFound, also once it is erased,
        and Unauthorized once the caller's key is revoked.

        Ends without a final one when the process is about to end.
        """
        follower, told = self._join(job_id, previews, account.key_id), None
        try:
            while not self._closed:
                if follower.suspect:
                    follower.suspect = False
                    await self._check_key(follower)
                if follower.doubtful:
                    follower.doubtful = False
                    async with self._gate:
                        job = await self._jobs.get(account, job_id)
                    if job.state.final:
                        yield _of_row(job)
                        return
                standing = await self._standing(job, previews=previews)
                if (news := _news(standing)) != told:
                    told = news
                    yield standing
                await follower.news.wait()
                follower.news.clear()
        finally:
            self._leave(job_id, follower)

    async def glance(self, account: Account, job_id: int) -> Standing:
        """How it stands now; glanced at again and again, it has previews. Raises NotFound."""
        job = await self._jobs.get(account, job_id)
        if job.state.final:
            return _of_row(job)
        self._keep_an_eye_on(job_id)
        return await self._standing(job, previews=True)

    def _keep_an_eye_on(self, job_id: int) -> None:
        """For a while, by one follower however often it is asked."""
        earlier = self._glanced.pop(job_id, None)
        follower, timer = earlier or (self._join(job_id, previews=True), None)
        if timer is not None:
            timer.cancel()
        later = asyncio.get_running_loop().call_later(GLANCE_SECONDS, self._look_away, job_id)
        self._glanced[job_id] = (follower, later)

    def _look_away(self, job_id: int) -> None:
        follower, _ = self._glanced.pop(job_id)
        self._leave(job_id, follower)

    def close(self) -> None:
        """Nobody is told anything more; who followed comes back to another process."""
        self._closed = True
        for followed in self._followed.values():
            followed.wake()

    async def _check_key(self, follower: Follower) -> None:
        if follower.key is None:
            return
        async with self._gate:
            row = await self._database.one("accounts.key_stands", id=follower.key)
        if not row or not row["stands"]:
            raise Unauthorized

    def _join(self, job_id: int, previews: bool, key: int | None = None) -> Follower:
        follower = Follower(previews, key)
        self._followed.setdefault(job_id, Followed()).followers.add(follower)
        self._poked.set()
        if self._keeper is None or self._keeper.done():
            self._keeper = asyncio.create_task(self._keep(), name="following")
        return follower

    def _leave(self, job_id: int, follower: Follower) -> None:
        followers = self._followed[job_id].followers
        followers.discard(follower)
        if not followers:
            del self._followed[job_id]

    async def _standing(self, job: Job, *, previews: bool) -> Standing:
        """Once the rows have been looked at, for all at once."""
        followed = self._followed[job.id]
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_SECONDS):
                await followed.looked.wait()
        return followed.standing(job, previews=previews)

    async def _keep(self) -> None:
        """While anybody follows anything. Workers are asked for news when a follower comes, and again before they forget."""
        asked_at = 0.0
        while self._followed:
            try:
                if self._poked.is_set() or time.monotonic() - asked_at > WATCH_SECONDS / 3:
                    self._poked.clear()
                    asked_at = time.monotonic()
                    await self._ask_workers()
                await self._look(list(self._followed))
            except Unavailable:
                log.warning("the database does not answer those who follow jobs")
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._poked.wait()

    async def _ask_workers(self) -> None:
        wanted = frozenset(job for job, one in self._followed.items() if any(each.previews for each in one.followers))
        for payload in write_watch(Watch(self._ear.key, list(self._followed), wanted)):
            await self._database.run("progress.notify", channel=WATCH, payload=payload)

    async def _look(self, ids: list[int]) -> None:
        async with self._database.transaction() as tx:
            rows = {row["id"]: row for row in await tx.all("progress.standing", ids=ids)}
            measured = await tx.one("jobs.speed")
        speed = (measured and measured["cost_per_second"]) or UNMEASURED
        for job_id in ids:
            followed, row = self._followed.get(job_id), rows.get(job_id)
            if followed is None:
                continue
            if row is not None:
                followed.look_at(row, row["cost"] / speed)
            followed.looked.set()
            followed.wake(doubtful=row is None)

    def _hear_steps(self, payload: str | None) -> None:
        """What was missed the next look at the rows tells."""
        for step in read_steps(payload or ""):
            if followed := self._followed.get(step.job):
                followed.step = step
                followed.wake()

    def _hear_preview(self, payload: str | None) -> None:
        if payload is not None:
            self._errands.send(self._show(payload))

    async def _show(self, payload: str) -> None:
        """The row is asked before, as with every picture."""
        preview = self._ear.open(payload)
        followed = preview and self._followed.get(preview.job)
        if not preview or not followed:
            return
        with suppress(Unavailable):
            row = await self._database.one("progress.shown", id=preview.job)
            if row and row["found"]:
                followed.preview = preview.picture
                followed.wake()

    def _hear_end(self, payload: str | None) -> None:
        """Ended or erased; or, where notifications were missed, perhaps."""
        for followed in self._followed.values() if payload is None else self._one(int(payload)):
            followed.preview = None
            followed.wake(doubtful=True)

    def _hear_of_revoked(self, payload: str | None) -> None:
        for followed in self._followed.values():
            for follower in followed.followers:
                if payload is None or follower.key == int(payload):
                    follower.suspect = True
                    follower.news.set()

    def _one(self, job_id: int) -> list[Followed]:
        return [self._followed[job_id]] if job_id in self._followed else []


def _of_row(job: Job) -> Standing:
    return Standing(job, job.state, job.attempt, job.step, job.steps)


def _news(standing: Standing) -> tuple[object, ...]:
    """What makes one standing differ from another for whoever listens."""
    wait = round(standing.seconds_left) if standing.state is JobState.queued else 0
    return standing.state, standing.attempt, standing.step, standing.steps, standing.place, wait, standing.preview
