"""Doing one thing for many, so that an error of one is nobody else's."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

from safelight.errors import EngineFailed, SafelightError

log = logging.getLogger(__name__)

Item = TypeVar("Item")
Answer = TypeVar("Answer")


def isolate(items: Sequence[Item], call: Callable[[Sequence[Item]], Sequence[Answer]]) -> list[Answer | SafelightError]:
    """``call`` for all at once; if that raises, for each alone, so that the culprit is found and only it is hurt."""
    try:
        return list(call(items))
    except Exception as error:  # noqa: BLE001  # a border: whoever is hurt is told
        if len(items) == 1:
            return [as_ours(error)]
    return [isolate([item], call)[0] for item in items]


def as_ours(error: Exception) -> SafelightError:
    """What went wrong inside is logged here and not told to the caller."""
    if isinstance(error, SafelightError):
        return error
    log.error("a request failed in the engine", exc_info=error)
    failure = EngineFailed()
    failure.__cause__ = error.with_traceback(None)  # whose frames would keep the model in memory
    return failure
