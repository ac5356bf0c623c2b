"""A hundred clients that send half a line and wait: the server answers everybody else, and hangs up on them in time."""

from __future__ import annotations

import socket
import time

from tests.whole.running import Running

ENOUGH = 12.0  # seconds; the server waits ten for a head


def test_dripping_clients_hurt_nobody(door: Running) -> None:
    port = int(door.url.rpartition(":")[2])
    began = time.monotonic()
    slow = [drip(port) for _ in range(100)]
    while time.monotonic() - began < ENOUGH:
        assert door.get("/healthz").status_code == 200
        time.sleep(0.2)
    assert [each.recv(100)[:13] for each in slow] == [b"HTTP/1.1 408 "] * 100
    for each in slow:
        each.close()


def drip(port: int) -> socket.socket:
    made = socket.create_connection(("127.0.0.1", port), timeout=120)
    made.send(b"GET /heal")
    return made
