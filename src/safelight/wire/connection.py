"""One connection from the world, with an end to its patience: a head must arrive, and a reply be taken, in time.

uvicorn alone waits for both without limit. Knows nothing of requests; the time of a body is kept where bodies are read.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import ClassVar

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_SECONDS = 10.0
MOST_HEAD = 64 * 2**10  # bytes
SEND_SECONDS = 60.0  # for a reply to be taken, or for what is left of a body whose reply is already out
LATE = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
TOO_LONG = b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
TOO_MANY = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 5\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Deadline:
    """Calls back once, unless it is stopped before."""

    def __init__(self) -> None:
        self._timer: asyncio.TimerHandle | None = None

    def __bool__(self) -> bool:
        """Whether it runs."""
        return self._timer is not None

    def start(self, seconds: float, call: Callable[[], None]) -> None:
        """One that runs already goes on as it is."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(seconds, call)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Connection(HttpToolsProtocol):
    """uvicorn's own, and what it leaves out."""

    most_per_address: ClassVar[int] = 512
    open: ClassVar[Counter[str]] = Counter()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own does
        self._head, self._rest, self._sending = Deadline(), Deadline(), Deadline()
        self._head_bytes, self._in_message = 0, False
        super().connection_made(transport)
        self._address = self.client[0] if self.client else ""
        self.open[self._address] += 1
        self._await_head()
        if self.open[self._address] > self.most_per_address:
            self._refuse(TOO_MANY)

    def connection_lost(self, exc: Exception | None) -> None:
        for deadline in (self._head, self._rest, self._sending):
            deadline.stop()
        self.open[self._address] -= 1
        if not self.open[self._address]:
            del self.open[self._address]
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if not self._in_message:
            self._await_head()
        self._unset_keepalive_if_required()
        self._read(data)
        if self._head:
            self._head_bytes += len(data)
            if self._head_bytes > MOST_HEAD:
                self._refuse(TOO_LONG)

    def on_headers_complete(self) -> None:
        self._head.stop()
        self._head_bytes, self._in_message = 0, True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_message = False
        self._rest.stop()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        if self._in_message:
            self._rest.start(SEND_SECONDS, self.transport.abort)
        if self.transport.is_closing():
            self._sending.start(SEND_SECONDS, self.transport.abort)
        super().on_response_complete()

    def pause_writing(self) -> None:
        self._sending.start(SEND_SECONDS, self.transport.abort)
        super().pause_writing()

    def resume_writing(self) -> None:
        self._sending.stop()
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._sending.start(SEND_SECONDS, self.transport.abort)

    def _read(self, data: bytes) -> None:
        """The parser stops where a client offers another protocol; we take the request as it is and read on."""
        while data:
            piece, data = data, b""
            try:
                self.parser.feed_data(piece)
            except httptools.HttpParserError:
                self.send_400_response("Invalid HTTP request received.")
            except httptools.HttpParserUpgrade as offer:
                data = self._head_without_offer() + piece[offer.args[0] :]

    def _should_upgrade(self) -> bool:
        """uvicorn passes over such a request, which begins once more. CONNECT offers nothing else and is refused."""
        return bool(self.parser.get_method() != b"CONNECT")

    def _head_without_offer(self) -> bytes:
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        lines = [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
        return b"\r\n".join([b"%b %b HTTP/%b" % (method, self.url, version), *lines, b"", b""])

    def _await_head(self) -> None:
        self._head.start(HEAD_SECONDS, lambda: self._refuse(LATE))

    def _refuse(self, reply: bytes) -> None:
        self.transport.write(reply)
        self.transport.close()
        self._sending.start(SEND_SECONDS, self.transport.abort)


def connection_class(most_per_address: int) -> type[Connection]:
    """For one server: its limit, and its own count of who is connected."""
    return type("Connection", (Connection,), {"most_per_address": most_per_address, "open": Counter()})
