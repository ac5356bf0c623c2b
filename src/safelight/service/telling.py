"""A worker's news of the jobs it is making, for those serving processes that asked. Who asks for nothing costs nothing.

Knows jobs by their numbers, and of a preview only how to have one made. Nothing here is kept: news that nobody heard are gone.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from safelight.errors import Unavailable
from safelight.service.makers.maker import Sketch
from safelight.service.progress import MOST_PREVIEW, PREVIEW, STEPS, WATCH, Preview, Step, read_watch, seal, write_steps
from safelight.storage.database import Database

log = logging.getLogger(__name__)

STEP_SECONDS = 0.1  # least time between two notifications of steps
PREVIEW_SECONDS = 0.3  # least time between two previews of one job
WATCH_SECONDS = 15.0  # how long a watch holds that is not renewed


@dataclass(eq=False)
class News:
    """Of one job while it is made here. ``note`` may be called from any thread; ``watch`` is told whether previews are wanted."""

    job: int
    attempt: int
    watch: Callable[[bool], None] = lambda _: None
    step: int = 0
    steps: int = 0
    sketch: Sketch | None = None
    told: Step | None = None
    shown_at: float = 0.0

    def note(self, step: int, steps: int, sketch: Sketch | None) -> None:
        self.step, self.steps, self.sketch = step, steps, sketch

    def now(self) -> Step:
        return Step(self.job, self.attempt, self.step, self.steps)


@dataclass
class Watcher:
    """The serving processes that want to hear of one job, and until when."""

    until: float = 0.0
    previews: dict[str, float] = field(default_factory=dict)  # until when, by public key


class Telling:
    """One for each worker. Make it before the database is opened."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._news: dict[int, News] = {}
        self._watchers: dict[int, Watcher] = {}
        database.on(WATCH, self._hear)

    @contextmanager
    def of(self, news: News) -> Iterator[News]:
        """While the job is made."""
        self._news[news.job] = news
        self._ask(news)
        try:
            yield news
        finally:
            if self._news.get(news.job) is news:
                del self._news[news.job]

    async def run(self) -> None:
        """Until cancelled."""
        await asyncio.gather(self._keep(self._tell_steps, STEP_SECONDS), self._keep(self._show, PREVIEW_SECONDS / 3))

    async def _keep(self, act: Callable[[], Awaitable[None]], pause: float) -> None:
        while True:
            try:
                await act()
            except Unavailable:
                log.debug("the database does not take news")
            await asyncio.sleep(pause)

    async def _tell_steps(self) -> None:
        self._forget()
        fresh = [news.now() for news in self._watched() if news.now() != news.told]
        for payload in write_steps(fresh):
            await self._database.run("progress.notify", channel=STEPS, payload=payload)
        for step in fresh:
            if step.job in self._news:
                self._news[step.job].told = step

    async def _show(self) -> None:
        """The newest of each job, one after another: previews take at most one thread. One too large to be told is left out."""
        for news in self._watched():
            keys = list(self._watchers[news.job].previews) if news.job in self._watchers else []
            sketch, step = news.sketch, news.step
            if not keys or sketch is None or time.monotonic() - news.shown_at < PREVIEW_SECONDS:
                continue
            news.sketch, news.shown_at = None, time.monotonic()
            picture = await asyncio.to_thread(sketch)
            if picture is not None and len(picture) <= MOST_PREVIEW and self._news.get(news.job) is news:
                for key in keys:
                    payload = seal(Preview(news.job, step, picture), key)
                    await self._database.run("progress.notify", channel=PREVIEW, payload=payload)

    def _watched(self) -> list[News]:
        return [news for job, news in self._news.items() if job in self._watchers]

    def _hear(self, payload: str | None) -> None:
        """What was missed is asked for again by those who still want it."""
        if payload is None:
            return
        watch, until = read_watch(payload), time.monotonic() + WATCH_SECONDS
        for job in watch.jobs:
            watcher = self._watchers.setdefault(job, Watcher())
            watcher.until = until
            if job in watch.previews:
                watcher.previews[watch.key] = until
            if job in self._news:
                self._ask(self._news[job])

    def _ask(self, news: News) -> None:
        watcher = self._watchers.get(news.job)
        news.watch(bool(watcher and watcher.previews))

    def _forget(self) -> None:
        """Watches that were not renewed."""
        now = time.monotonic()
        for job, watcher in list(self._watchers.items()):
            gone = [key for key, until in watcher.previews.items() if until < now]
            for key in gone:
                del watcher.previews[key]
            if watcher.until < now:
                del self._watchers[job]
            if gone and job in self._news:
                self._ask(self._news[job])
