"""Requests that their callers may send again: the marks by which the second is known for the first. Hashes only."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256


@dataclass(frozen=True, slots=True)
class Once:
    """Marks a request that its caller may send again, for a day; ``once_for`` makes one."""

    key: bytes
    request: bytes


def once_for(key: str, request: str) -> Once:
    """Nobody who lacks the key can try out from the hashes what was asked."""
    secret = key.encode()
    return Once(sha256(secret).digest(), sha256(secret + b"\0" + request.encode()).digest())
