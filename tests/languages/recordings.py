"""What each client was seen to send, as data: the lines of its head, and the body of each printed request.

Exact but for what must differ with every server and caller: the host, the length, the key, the picture's address and the number of
the request. ``recorded.json`` is written anew by ``UPDATE_RECORDINGS=1`` where a client is at hand.
"""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .clients import PRINTED, PRINTED_PICTURE, Client

FILE = Path(__file__).with_name("recorded.json")
OURS = {"host": "Host: HOST", "content-length": "Content-Length: LENGTH"}


@dataclass(frozen=True)
class Recording:
    """One client's requests. ``bodies`` go by path."""

    client: str
    head: list[str]
    bodies: dict[str, str]

    def filled(self, path: str, host: str, key: str, *, picture: str = "", number: int = 0) -> tuple[bytes, bytes]:
        """Head and body as the client would have sent them to ``host``."""
        body = _fill(self.bodies[path], key, picture, number).encode()
        lines = [line.replace("PATH", f"/api/{path}").replace("HOST", host) for line in self.head]
        head = "\r\n".join([*lines, "", ""]).replace("LENGTH", str(len(body)))
        return head.encode(), body


def _fill(body: str, key: str, picture: str, number: int) -> str:
    """In the client's own spelling: PHP writes ``\\/`` for a slash."""
    slash = "\\/" if "\\/" in body else "/"
    filled = re.sub(r'("key"\s*:\s*)""', rf'\1"{key}"', body.replace("2398", str(number)))
    return filled.replace(PRINTED_PICTURE.replace("/", slash), picture.replace("/", slash))


def recordings() -> list[Recording]:
    return [Recording(**one) for one in json.loads(FILE.read_text())]


def record(client: Client) -> Recording:
    """By a socket that answers nothing of use."""
    with _listening() as (address, heard):
        for path, body in PRINTED.items():
            client.send(f"{address}/api/{path}", body)
    heads = [_plain(head) for head, _ in heard]
    assert all(head == heads[0] for head in heads), heads
    return Recording(client.name, heads[0], {path: body for path, (_, body) in zip(PRINTED, heard, strict=True)})


def _plain(head: str) -> list[str]:
    first, *lines = head.split("\r\n")
    return [re.sub(r"/api/\S+", "PATH", first), *(OURS.get(line.partition(":")[0].lower(), line) for line in lines)]


@contextmanager
def _listening() -> Iterator[tuple[str, list[tuple[str, str]]]]:
    heard: list[tuple[str, str]] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_take, args=(listener, heard), daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", heard


def _take(listener: socket.socket, heard: list[tuple[str, str]]) -> None:
    for _ in PRINTED:
        connection, _ = listener.accept()
        with connection:
            heard.append(_request(connection))
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")


def _request(connection: socket.socket) -> tuple[str, str]:
    got = b""
    while b"\r\n\r\n" not in got:
        got += connection.recv(65536)
    head, _, body = got.partition(b"\r\n\r\n")
    length = int(re.search(rb"content-length: (\d+)", head, re.IGNORECASE)[1])  # type: ignore[index]
    while len(body) < length:
        body += connection.recv(65536)
    return head.decode(), body.decode()


def same(one: Recording, other: Recording) -> bool:
    """But for the numbers of versions."""
    return _unnumbered(one.head) == _unnumbered(other.head) and one.bodies == other.bodies


def _unnumbered(head: list[str]) -> list[Any]:
    return [re.sub(r"[\d._]+", "0", line) for line in head]


def keep(made: Recording) -> None:
    others = [one for one in recordings() if one.client != made.client] if FILE.exists() else []
    told = sorted([*others, made], key=lambda one: one.client)
    FILE.write_text(json.dumps([vars(one) for one in told], indent=1) + "\n")
