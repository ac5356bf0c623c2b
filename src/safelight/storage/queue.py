"""Durable work by Procrastinate, in the same PostgreSQL: deferred inside the caller's transaction, run by any process that works.

An entry carries ids only, never what a caller wrote. It says that something is to be done; what is true is in our own rows,
and whoever runs an entry asks them first. So entries of dead workers are not repaired: the reconciler makes new ones.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

import procrastinate
from procrastinate.exceptions import ConnectorException
from procrastinate.manager import JobManager

from safelight.storage.database import Database, Transaction, answered

log = logging.getLogger(__name__)

Task = Callable[[int, str], Awaitable[None]]  # (number of the entry, id of what it is about)

POLL_SECONDS = 1.0  # a notification that comes while the worker is asking is lost, and this is how late the entry gets

PICTURES, EDITS, MODELS, WEBHOOKS = "pictures", "edits", "models", "webhooks"


class _Entries(JobManager):
    """That an entry was ended by somebody else, or cannot be ended now, harms nobody: it is our own rows that decide."""

    async def finish_job(
        self, job: procrastinate.jobs.Job, status: procrastinate.jobs.Status, delete_job: bool
    ) -> None:
        try:
            await super().finish_job(job, status, delete_job)
        except ConnectorException:
            log.info("entry %s was not there to be ended", job.id)


class Queue:
    """Names of tasks, entries for them, and a loop that runs the entries."""

    def __init__(self, database: Database, *, heartbeat_seconds: float, stalled_seconds: float) -> None:
        self._database = database
        self._heartbeat, self._stalled = heartbeat_seconds, stalled_seconds
        self._app = procrastinate.App(connector=procrastinate.PsycopgConnector())
        self._tasks: dict[str, Task] = {}
        self._app.job_manager = _Entries(self._app.connector)

    async def open(self) -> None:
        """After the database."""
        await self._app.open_async(self._database.pool)

    def teach(self, queue: str, task: Task) -> None:
        """From now on this process runs the entries of ``queue`` by calling ``task``, whatever it was taught before."""
        taught = queue in self._tasks
        self._tasks[queue] = task
        if taught:
            return

        async def run(context: procrastinate.JobContext, about: str) -> None:
            assert context.job.id is not None
            await self._tasks[queue](context.job.id, about)

        self._app.task(name=queue, queue=queue, pass_context=True)(run)

    async def defer(self, tx: Transaction, queue: str, about: object, *, priority: int = 0, seconds: float = 0) -> int:
        """An entry that exists from the commit of ``tx`` on; its number. Raises Unavailable where the database does not answer."""
        entry = self._app.configure_task(
            queue, queue=queue, priority=priority, connection=tx.connection,
            schedule_in={"seconds": seconds} if seconds else None,
        )  # fmt: skip
        try:
            return await entry.defer_async(about=str(about))
        except ConnectorException as wrapped:
            with answered():
                raise wrapped.__cause__ or wrapped from None

    async def work(self, queues: Sequence[str], *, concurrency: int) -> None:
        """Until cancelled: then nothing new is begun, and it returns when what runs has ended. Outlives the database's absences."""
        while True:
            try:
                await self._app.run_worker_async(
                    queues=list(queues),
                    concurrency=concurrency,
                    install_signal_handlers=False,
                    fetch_job_polling_interval=POLL_SECONDS,
                    update_heartbeat_interval=self._heartbeat,
                    stalled_worker_timeout=self._stalled,
                )
            except (ConnectorException, OSError) as error:
                log.warning("the queue does not answer: %s", type(error).__name__)
            this = asyncio.current_task()
            if this is not None and this.cancelling():
                raise asyncio.CancelledError  # the error came while it was ending, and hid that
            await asyncio.sleep(1.0)
