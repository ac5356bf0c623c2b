"""Server-Sent Events: news as a stream that browsers and programs read line by line. Knows no dialect's words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass

import msgspec
from fastapi import Response
from fastapi.responses import StreamingResponse

from safelight.cancelling import cancel

BEAT_SECONDS = 15.0  # of silence after which a line without meaning keeps proxies from hanging up
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no", "X-Content-Type-Options": "nosniff"}


@dataclass(frozen=True, slots=True)
class Event:
    """``id`` comes back as Last-Event-ID where a reader lost the connection."""

    name: str
    data: object
    id: str = ""


def write_event(event: Event) -> bytes:
    """JSON has no line breaks of its own, so one line of data is enough."""
    head = f"id: {event.id}\n" if event.id else ""
    return f"{head}event: {event.name}\ndata: ".encode() + msgspec.json.encode(event.data) + b"\n\n"


def stream(events: AsyncGenerator[Event, None], headers: Mapping[str, str] | None = None) -> Response:
    told = {**HEADERS, **(headers or {})}
    return StreamingResponse(_beating(events), media_type="text/event-stream", headers=told)


async def _beating(events: AsyncGenerator[Event, None]) -> AsyncIterator[bytes]:
    coming = asyncio.create_task(_next(events))
    try:
        while True:
            await asyncio.wait({coming}, timeout=BEAT_SECONDS)
            if not coming.done():
                yield b":\n\n"
            elif event := coming.result():
                yield write_event(event)
                coming = asyncio.create_task(_next(events))
            else:
                return
    finally:
        await cancel(coming)
        await events.aclose()


async def _next(events: AsyncGenerator[Event, None]) -> Event | None:
    return await anext(events, None)
