"""Our side of the decoding program (``decode.py``): starts it, hands it pictures, believes nothing, survives its death.

This process never parses a stranger's picture itself. It knows nothing of fields, accounts or addresses.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import os
import socket
import struct
import subprocess
import sys
import weakref
from contextlib import suppress
from typing import Literal

from safelight.errors import Invalid, Unavailable
from safelight.records import Bitmap

_HEADER = struct.Struct("!cIII")  # as in decode.py, which is not imported here: it would bring the decoders along
_GAVE_UP = b"-takes too much time or memory to decode"
_WALL_SECONDS_PER_CPU_SECOND = 3  # a busy machine gives a child a part of a core
_KEPT_ENVIRONMENT = ("LD_LIBRARY_PATH", "SYSTEMROOT", "TZ")


class Darkroom:
    """Decodes pictures in limited children, as many at a time as there are processors. Nothing runs until the first."""

    def __init__(self, *, max_pixels: int, min_side: int, cpu_seconds: float) -> None:
        cpu = math.ceil(cpu_seconds)
        self._wall = cpu * _WALL_SECONDS_PER_CPU_SECOND
        self._arguments = [str(value) for value in (max_pixels, min_side, cpu, self._wall)]
        self._slots = asyncio.Semaphore(os.cpu_count() or 1)
        self._program: _Program | None = None

    async def develop(self, data: bytes, mode: Literal["RGB", "L", "A"]) -> Bitmap:
        """Raises Invalid without a field; its rule may be shown to anyone."""
        async with self._slots:
            reply = await self._ask(data, mode) or await self._ask(data, mode)
        if not reply:
            raise Unavailable
        return await asyncio.to_thread(_read, reply)

    def close(self) -> None:
        """Ends the program. A later picture starts another."""
        program, self._program = self._program, None
        if program is not None:
            program.stop()

    async def _ask(self, data: bytes, mode: str) -> bytes:
        """What a child answered; empty if none was ever there, which is the program's fault and not the picture's."""
        program = self._program = self._program or _Program(self._arguments)
        try:
            async with asyncio.timeout(self._wall):
                reply = await program.converse(mode[:1].encode(), data)
        except TimeoutError:
            reply = _GAVE_UP
        else:
            if reply:
                return reply
        if self._program is program:  # dead or stuck; the children of others that it forked go on without it
            self.close()
        return reply


class _Program:
    """One running ``decode.py`` and the socket over which each picture's own socket is handed to it."""

    def __init__(self, arguments: list[str]) -> None:
        self._control, theirs = socket.socketpair()
        environment = {name: os.environ[name] for name in _KEPT_ENVIRONMENT if name in os.environ}
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 (our own interpreter, our own module)
                [sys.executable, "-P", "-m", "safelight.service.decode", *arguments],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                env=environment | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
        self.stop = weakref.finalize(self, _stop, self._process, self._control)

    async def converse(self, mode: bytes, data: bytes) -> bytes:
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                try:
                    socket.send_fds(self._control, [b"!"], [theirs.fileno()])
                except OSError:
                    return b""
            ours.setblocking(False)
            return await _converse(ours, mode, data)


async def _converse(conversation: socket.socket, mode: bytes, data: bytes) -> bytes:
    """A child greets with one byte, takes the picture and answers. A child that dies after its greeting gave up."""
    loop = asyncio.get_running_loop()
    reply = bytearray()
    with suppress(OSError):  # a reset is an end like any other
        if not await loop.sock_recv(conversation, 1):
            return b""
        await loop.sock_sendall(conversation, mode)
        await loop.sock_sendall(conversation, data)
        conversation.shutdown(socket.SHUT_WR)
        while part := await loop.sock_recv(conversation, 2**20):
            reply += part
    return bytes(reply) or _GAVE_UP


def _stop(process: subprocess.Popen[bytes], control: socket.socket) -> None:
    control.close()
    process.kill()  # children that are at work end by themselves
    process.wait()


def _read(reply: bytes) -> Bitmap:
    if reply[:1] == b"-":
        raise Invalid("", reply[1:].decode(errors="replace"))
    header, png = reply[: _HEADER.size], reply[_HEADER.size :]
    _, width, height, length = _HEADER.unpack(header) if len(header) == _HEADER.size else (b"", 0, 0, -1)
    if len(png) != length:  # the child was stopped in mid-sentence
        raise Invalid("", _GAVE_UP[1:].decode())
    return Bitmap(png, width, height, hashlib.sha256(png).hexdigest())
