"""One accepted request and how it stands."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from safelight.records.requests import JobRequest


class JobState(StrEnum):
    """Where a job stands. The last three are final."""

    queued = "queued"
    running = "running"
    succeeded = "succeeded"
    failed = "failed"
    cancelled = "cancelled"

    @property
    def final(self) -> bool:
        return self in (JobState.succeeded, JobState.failed, JobState.cancelled)


@dataclass(frozen=True, slots=True)
class Job:
    """One accepted request and what became of it. ``request`` is None once the job was erased."""

    id: int
    account_id: int
    state: JobState
    request: JobRequest | None
    file_prefix: str  # 128 random bits in the shape of a UUID; outputs are named {file_prefix}-{n}.png
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    attempt: int = 0
    step: int = 0  # denoising steps done, of ``steps``
    steps: int = 0
    seconds: float | None = None  # on the engine
    model: str | None = None  # the checkpoint that was really used
    nsfw: tuple[bool, ...] = ()  # per output picture; True was replaced by a blank one
    native_size: tuple[int, int] | None = None
    outputs: int = 0  # live output pictures
    error: str | None = None
    erased_at: datetime | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """How a job stands at one moment, fresher than its row. ``job`` is the row as it was last read, and final when it is."""

    job: Job
    state: JobState
    attempt: int
    step: int
    steps: int
    place: int = 0  # among those that wait; the first is next
    seconds_left: float = 0.0
    preview: bytes | None = None  # a small WebP of what is coming
