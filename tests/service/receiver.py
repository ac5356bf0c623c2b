"""Servers on a loopback socket that answer as they are told: in time, late, too much, too little, or not at all."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpcore

Behaviour = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Received:
    line: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """Plays its script, one entry for each request; the last one again and again."""

    script: list[Behaviour]
    port: int = 0
    connections: int = 0
    at_once: int = 0
    most_at_once: int = 0
    received: list[Received] = field(default_factory=list)
    conversations: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def let_go(self) -> None:
        """Ends every conversation where it stands."""
        for task in self.conversations:
            task.cancel()
        await asyncio.gather(*self.conversations, return_exceptions=True)

    async def meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            self.received.append(await _read(reader))
            await (self.script.pop(0) if len(self.script) > 1 else self.script[0])(writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.at_once -= 1
            writer.close()


async def _read(reader: asyncio.StreamReader) -> Received:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = dict(line.split(": ", 1) for line in head[1:] if line)
    lower = {name.lower(): value for name, value in headers.items()}
    return Received(head[0], lower, await reader.readexactly(int(lower.get("content-length", 0))))


@asynccontextmanager
async def receiver(*script: Behaviour, tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    here = Receiver(list(script) or [answer()])

    async def met(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        here.conversations.add(task)
        await here.meet(reader, writer)

    server = await asyncio.start_server(met, "127.0.0.1", 0, ssl=tls)
    here.port = server.sockets[0].getsockname()[1]
    try:
        yield here
    finally:
        server.close()
        await here.let_go()


def raw(*parts: bytes, pause: float = 0) -> Behaviour:
    async def behave(writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(pause)

    return behave


def answer(body: bytes = b"", status: int = 200, **headers: str) -> Behaviour:
    lines = {"content_length": str(len(body))} | headers
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in lines.items())
    return raw(f"HTTP/1.1 {status} Whatever\r\n{head}\r\n".encode("latin-1") + body)


def redirect(target: str, status: int = 302) -> Behaviour:
    return answer(status=status, location=target)


def drip(head: bytes = b"", pause: float = 0.02) -> Behaviour:
    """One byte at a time, for ever."""

    async def behave(writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(pause)

    return behave


def endless(head: bytes) -> Behaviour:
    async def behave(writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while True:
            writer.write(bytes(2**16))
            await writer.drain()

    return behave


async def hang(_: asyncio.StreamWriter) -> None:
    await asyncio.sleep(60)


async def reset(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


class Elsewhere(httpcore.AsyncNetworkBackend):
    """A small internet: whatever number is dialled, a server of ours picks up; the numbers are noted."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.dialled: list[tuple[str, int]] = []
        self._loopback = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        self.dialled.append((host, port))
        return await self._loopback.connect_tcp("127.0.0.1", self.port, timeout)
