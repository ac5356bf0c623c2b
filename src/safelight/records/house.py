"""What operators and owners are told of the house: its load, its workers, what was erased, what was missed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class QueueLoad:
    """Jobs waiting or running, and the seconds until a request accepted now would begin."""

    queued: int
    running: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Receipt:
    """Proof of one erasure, kept without content. ``verified_at`` is set once every byte was checked to be gone."""

    id: str  # a UUID
    account_id: int
    key_id: int | None
    scope: str  # job, jobs, asset, cache, expiry, filter, unstored or account
    request_ids: tuple[int, ...]
    assets: int
    bytes: int
    requested_at: datetime
    verified_at: datetime | None
    left: int = 0  # requests that have not had their turn


@dataclass(frozen=True, slots=True)
class HeldCheckpoint:
    """A checkpoint in a worker's memory, on its way there, or that would not come. An installed one is known by its job's number."""

    name: str
    state: str
    bytes: int
    parts: Mapping[str, int] = field(default_factory=dict)  # bytes of encoders, denoiser and autoencoder
    encoders: str = "device"  # where these are


@dataclass(frozen=True, slots=True)
class WorkerPulse:
    """What a worker last said of itself. Memory is its device's, in bytes, and ``memory_used`` what of it is its own."""

    name: str
    step_seconds: float
    rows_per_tick: float
    rows_waiting: int
    device: str
    memory_used: int
    memory_free: int
    memory_total: int
    checkpoints: tuple[HeldCheckpoint, ...]


@dataclass(frozen=True, slots=True)
class Statistics:
    """The state of the house at one moment, for operators."""

    waiting: int
    running: int
    oldest_wait: float  # seconds
    outcomes: Mapping[str, int]  # jobs ended since the database was made, by final state
    workers: tuple[WorkerPulse, ...]
    blob_bytes: int
    retries: Mapping[str, int]  # of jobs, by reason
    webhooks_waiting: int
    erasures_unverified: int
    strays: int  # files without a row, by the last stocktaking
    lost: int  # rows without a file
    strays_removed: int
    stock_taken_at: float  # seconds since 1970; 0 before the first


@dataclass(frozen=True, slots=True)
class Wish:
    """Something documented that callers asked for and this server does not have. ``what`` is from our own lists."""

    what: str
    times: int
    last_at: datetime
