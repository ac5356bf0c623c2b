"""Logs as JSON lines on standard error, each with its request id. Knows nothing of what is logged, only what must never be.

Keys and prompts are dropped by name, and an exception is told by its type and place alone, because its message may quote either.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any

import structlog

SECRET = frozenset(
    {"key", "api_key", "authorization", "prompt", "negative_prompt", "body", "init_image", "mask_image", "password"}
)
Event = MutableMapping[str, Any]


def set_up(level: str) -> None:
    """Sends structlog's and the standard library's records through one JSON formatter."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        without_secrets,
        with_exception_place,
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer()],
        logger_factory=Lines,
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        cache_logger_on_first_use=True,
    )
    remove = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared, processors=[remove, structlog.processors.JSONRenderer()]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    for chatty in ("httpx", "httpcore", "procrastinate", "psycopg.pool", "uvicorn.access"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, logging.getLevelName(level.upper())))


class Lines:
    """Where structlog's records end, past the standard library's, which costs more than all else that is done for a small request."""

    def __init__(self, name: str | None = None) -> None:
        self.name = name

    def msg(self, line: str) -> None:
        """A log that cannot be written stops nobody."""
        with suppress(OSError, ValueError):
            sys.stderr.write(line + "\n")

    debug = info = warning = error = critical = msg


def without_secrets(_logger: Any, _method: str, event: Event) -> Event:
    """Drops every field whose name says that it holds a key, a prompt or a picture."""
    for name in SECRET & event.keys():
        event[name] = "[left out]"
    return event


def with_exception_place(_logger: Any, _method: str, event: Event) -> Event:
    """Replaces exception information by its type and the lines it passed through, without its message."""
    info = event.pop("exc_info", None)
    error = (
        info[1]
        if isinstance(info, tuple)
        else info
        if isinstance(info, BaseException)
        else sys.exc_info()[1]
        if info
        else None
    )
    if error is not None:
        frames = traceback.extract_tb(error.__traceback__)
        event["error_type"] = type(error).__qualname__
        event["error_place"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
    return event
