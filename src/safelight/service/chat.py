"""Chat calls, handed on to an OpenAI-compatible server that the operator names. Nothing of them is kept, here or in a log."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx

from safelight.errors import Unavailable
from safelight.settings import Settings

SECONDS = 600.0  # for a whole answer
CONNECT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Reply:
    """What the other server says: its status, its kind of body, and the body as it comes."""

    status: int
    media_type: str
    body: AsyncIterator[bytes]


class Chat:
    """``offered`` is False until the operator has named a server."""

    def __init__(self, settings: Settings) -> None:
        self._address = settings.chat_url.rstrip("/") if settings.chat_url else None
        self._headers = {"Authorization": f"Bearer {settings.chat_key}"} if settings.chat_key else {}

    @property
    def offered(self) -> bool:
        return self._address is not None

    @asynccontextmanager
    async def ask(self, method: str, path: str, body: Mapping[str, object] | None = None) -> AsyncIterator[Reply]:
        """Raises Unavailable where the other server does not answer. Use only where ``offered``."""
        timeout = httpx.Timeout(SECONDS, connect=CONNECT_SECONDS)
        try:
            async with (
                httpx.AsyncClient(timeout=timeout, headers=self._headers) as client,
                client.stream(method, f"{self._address}/{path}", json=body) as reply,
            ):
                kind = reply.headers.get("content-type", "application/json")
                yield Reply(reply.status_code, kind, reply.aiter_bytes())
        except httpx.HTTPError as error:
            raise Unavailable("The language model's server does not answer. Please try again later.") from error
