"""What a documented endpoint would need that this server does not have. Knows no dialect's paths."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from safelight.errors import NotOffered


@dataclass(frozen=True, slots=True)
class Absence:
    """``name`` is for counting, ``sentence`` for the caller: what is missing, and what can be done about it."""

    name: str
    sentence: str

    def refusal(self) -> NotOffered:
        return NotOffered(self.sentence)


Find = Callable[[str], tuple[str, Absence] | None]  # a path -> its template in the vendor's pages, and what is missing


def nothing(_path: str) -> None:
    """For a dialect whose every endpoint is here."""
