"""Who may be made at the same time: everybody, but a company that was on board of a crash keeps to itself until it is through.

First come, first admitted. Knows nothing of rows, nor of how anything is made.
"""

from __future__ import annotations

import asyncio

ANYBODY, NOBODY, FREE = "anybody", "nobody", "free"


class Board:
    """``welcome`` says who would be admitted at once: anybody, nobody, or those of one company."""

    def __init__(self) -> None:
        self._aboard: set[object] = set()
        self._company: int | None = None
        self._waiting: dict[object, tuple[int | None, asyncio.Event]] = {}

    @property
    def welcome(self) -> str:
        if self._waiting:
            return NOBODY
        return label(self._company) if self._aboard else ANYBODY

    def admit(self, who: object, company: int | None) -> None:
        self._aboard.add(who)
        self._company = company

    def line_up(self, who: object, company: int | None) -> asyncio.Event:
        """Set once ``who`` is admitted."""
        admitted = asyncio.Event()
        self._waiting[who] = (company, admitted)
        self._let_in()
        return admitted

    def leave(self, who: object) -> None:
        """Wherever it is."""
        self._aboard.discard(who)
        self._waiting.pop(who, None)
        self._let_in()

    def _let_in(self) -> None:
        """The company of whoever has waited longest, all of it."""
        if self._aboard or not self._waiting:
            return
        company, _ = next(iter(self._waiting.values()))
        for who in [who for who, (theirs, _) in self._waiting.items() if theirs == company]:
            self.admit(who, company)
            self._waiting.pop(who)[1].set()


def label(company: int | None) -> str:
    return FREE if company is None else str(company)
