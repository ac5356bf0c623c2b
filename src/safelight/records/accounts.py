"""Who asks: accounts and their keys."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Account:
    """A tenant. Everything that is stored belongs to exactly one. ``key_id`` is the key that this caller came with.

    ``operator``: that key may also look after the server. ``stores``: what is asked for may be stored.
    """

    id: int
    name: str
    key_id: int | None = None
    operator: bool = False
    stores: bool = True


@dataclass(frozen=True, slots=True)
class Key:
    """An API key without its secret: ``prefix`` is the part that may be shown."""

    id: int
    account_id: int
    account_name: str
    label: str
    prefix: str
    created_at: datetime
    revoked_at: datetime | None
    last_used_at: datetime | None
    operator: bool = False
    stores: bool = True


@dataclass(frozen=True, slots=True)
class Limits:
    """What an operator said of one account: the most jobs that it may have waiting or running, and the most bytes that it may keep.

    None where nothing was said, so that its plan or the settings count.
    """

    jobs: int | None = None
    bytes: int | None = None
