"""What every command stands on: the database, the queue in it, the blob store and the keys. Knows nothing of what is served on it."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from safelight.checkpoints import BUNDLED_NAME
from safelight.errors import SetupFailed
from safelight.service.erasure import Erasure
from safelight.service.masters import Masters
from safelight.service.vault import Vault
from safelight.settings import Settings
from safelight.storage import postgres
from safelight.storage.blobs import Blobs, open_blobs
from safelight.storage.database import Database
from safelight.storage.deletion_log import DeletionLog
from safelight.storage.queue import Queue


@dataclass(frozen=True)
class Ground:
    """The database, the queue in it, the blob store and the keys to what is in them, open."""

    settings: Settings
    database: Database
    queue: Queue
    blobs: Blobs
    vault: Vault


@contextmanager
def database_address(settings: Settings, *, start: bool = True) -> Iterator[str]:
    """The operator's own database, or the embedded one: whoever runs it here already, else started for as long as this."""
    found = settings.database_url or (None if start else postgres.find(settings.data_dir))
    if found is not None:
        yield found
        return
    if not start:
        raise SetupFailed(
            f"No server runs on {settings.data_dir}. Start `safelight serve` there, or give --database-url."
        )
    embedded = postgres.EmbeddedPostgres(settings.data_dir)
    address = embedded.start()
    try:
        yield address
    finally:
        embedded.stop()


def prepare(settings: Settings, address: str) -> Ground:
    """Made, not yet open: whoever wants to hear notifications says so before ``opened``."""
    database = Database(address)
    queue = Queue(database, heartbeat_seconds=settings.heartbeat_seconds, stalled_seconds=settings.stalled_seconds)
    return Ground(settings, database, queue, open_blobs(settings.blobs_url), Vault(database, Masters(settings)))


@asynccontextmanager
async def opened(ground: Ground) -> AsyncIterator[None]:
    await ground.database.open()
    try:
        await ground.queue.open()
        yield
    finally:
        await ground.database.close()


def make_erasure(ground: Ground) -> Erasure:
    deletions = DeletionLog(ground.settings.deletion_log_path)
    return Erasure(ground.settings, ground.database, ground.blobs, ground.vault, deletions)


def worker_environment(settings: Settings, address: str) -> dict[str, str]:
    """What a worker process of ours needs to be told; the rest it reads from the same environment."""
    return {
        "OMP_WAIT_POLICY": "PASSIVE",  # unless set: threads that spin while they wait starve the others on shared cores
        **os.environ,
        "SAFELIGHT_DATA_DIR": str(settings.data_dir),
        "SAFELIGHT_DATABASE_URL": address,
        "SAFELIGHT_BLOB_URL": settings.blobs_url,
        "SAFELIGHT_MODELS": json.dumps({name: str(path) for name, path in settings.models.items()}),
        "SAFELIGHT_MODEL": settings.model or BUNDLED_NAME,
        "PYTHONUNBUFFERED": "1",
    }
