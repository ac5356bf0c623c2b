"""Clients that are slow on purpose, against a real server whose patience is made short."""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator

import httpx
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from safelight.wire import connection

pytestmark = pytest.mark.anyio
BIG = b"x" * 2**20


async def much(scope: Scope, receive: Receive, send: Send) -> None:
    """Sixty-four MiB for whoever asks, without reading what they say; to others, on another path, what they said."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    heard, more = b"", scope["path"] == "/echo"
    while more:
        part = await receive()
        heard, more = heard + part["body"], part["more_body"]
    for _ in range(64 if scope["path"] == "/much" else 0):
        await send({"type": "http.response.body", "body": BIG, "more_body": True})
    await send({"type": "http.response.body", "body": heard})


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.4)
    monkeypatch.setattr(connection, "SEND_SECONDS", 0.4)
    config = uvicorn.Config(much, http=connection.connection_class(20), lifespan="off", log_config=None, ws="none")
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = asyncio.create_task(server._serve([listener]))
        yield listener.getsockname()[1]
        server.should_exit = True
        await serving


@pytest.fixture
async def patient(port: int, monkeypatch: pytest.MonkeyPatch) -> int:
    """The port of a server that nobody here is too slow for."""
    monkeypatch.setattr(connection, "HEAD_SECONDS", 60.0)
    monkeypatch.setattr(connection, "SEND_SECONDS", 60.0)
    return port


async def said(port: int, *parts: bytes, pause: float = 0.1) -> bytes:
    """Everything the server answers to a client that speaks slowly, until it hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def speak() -> None:
        for part in parts:
            writer.write(part)
            await asyncio.sleep(pause)

    speaking = asyncio.create_task(speak())
    try:
        async with asyncio.timeout(60):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        speaking.cancel()
        writer.close()


async def test_half_a_request_line_is_hung_up_on(port: int) -> None:
    assert (await said(port, b"GET /")).startswith(b"HTTP/1.1 408 ")
    assert (await said(port)).startswith(b"HTTP/1.1 408 ")


async def test_a_head_in_drips_is_hung_up_on(port: int) -> None:
    assert (await said(port, b"GET / HTTP/1.1\r\n", *[b"a: b\r\n"] * 40)).startswith(b"HTTP/1.1 408 ")


async def test_drips_after_a_good_request_are_hung_up_on(port: int) -> None:
    reply = await said(port, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", *[b"\r\n"] * 40)
    assert reply.startswith(b"HTTP/1.1 200 ")
    assert b"HTTP/1.1 408 " in reply


async def test_a_head_without_end_is_refused(patient: int) -> None:
    """By its size alone. What it had still to say may drown the refusal."""
    reply = await said(patient, b"GET / HTTP/1.1\r\n", b"a: " + b"x" * 2**17, pause=0)
    assert reply == b"" or reply.startswith(b"HTTP/1.1 431 ")


async def test_a_body_that_nobody_waits_for_is_hung_up_on(port: int) -> None:
    reply = await said(port, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n", *[b"x"] * 40)
    assert reply == b"" or reply.startswith(b"HTTP/1.1 200 ")


async def test_a_reply_that_nobody_takes_is_given_up(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
    writer.write(b"GET /much HTTP/1.1\r\nHost: a\r\n\r\n")
    await asyncio.sleep(1.2)
    async with asyncio.timeout(60):
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(64 * 2**20)
    writer.close()


async def test_a_good_client_is_served_as_long_as_it_likes(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its requests may be further apart than a head may take; only this machine may be slow to read."""
    monkeypatch.setattr(connection, "SEND_SECONDS", 60.0)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        for _ in range(4):
            assert (await client.get("/")).status_code == 200
            await asyncio.sleep(0.3)
        assert len((await client.get("/much")).content) == 64 * 2**20


async def test_one_address_has_so_many_connections_and_no_more(patient: int) -> None:
    pairs = [await asyncio.open_connection("127.0.0.1", patient) for _ in range(20)]
    refused = await said(patient)
    assert refused.startswith(b"HTTP/1.1 429 ")
    assert b"Retry-After: 5\r\n" in refused
    for _, writer in pairs:
        writer.close()
        await writer.wait_closed()
    async with httpx.AsyncClient() as client:
        assert (await client.get(f"http://127.0.0.1:{patient}/")).status_code == 200


OFFERS = {
    "h2c, as curl and Java send it": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQ\r\n",
    "websocket": b"Connection: upgrade\r\nUPGRADE: websocket\r\nSec-WebSocket-Version: 13\r\n",
}


@pytest.mark.parametrize("pieces", [1, 2, 3])
@pytest.mark.parametrize("kind", OFFERS)
async def test_an_offer_of_another_protocol_costs_no_body(patient: int, kind: str, pieces: int) -> None:
    """In one segment, in two that part between head and body, and in three; what follows on the connection is read too."""
    head = b"POST /echo?a=1 HTTP/1.1\r\nHost: a\r\n" + OFFERS[kind] + b"Content-Length: 7\r\n\r\n"
    parts = {1: [head + b"a b\r\nc "], 2: [head, b"a b\r\nc "], 3: [head[:40], head[40:] + b"a b", b"\r\nc "]}[pieces]
    reply = await said(patient, *parts, b"POST /echo HTTP/1.0\r\nContent-Length: 3\r\n\r\nend")
    assert reply.count(b"HTTP/1.1 200 ") == 2
    assert b"a b\r\nc " in reply
    assert b"end" in reply


async def test_a_chunked_body_beside_an_offer_and_many_offers_at_once(patient: int) -> None:
    head = b"POST /echo HTTP/1.1\r\nHost: a\r\n" + OFFERS["websocket"] + b"Transfer-Encoding: chunked\r\n\r\n"
    last = b"POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    reply = await said(patient, (head + b"3\r\nabc\r\n0\r\n\r\n") * 50 + last)
    assert reply.count(b"abc") == 50


async def test_a_tunnel_is_refused(patient: int) -> None:
    assert (await said(patient, b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\nabc")).startswith(b"HTTP/1.1 400 ")


@pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")
async def test_curl_that_offers_http_2(patient: int) -> None:
    curl = await asyncio.create_subprocess_exec(
        "curl", "-s", "--http2", "--max-time", "60", "--data", "key=a", f"http://127.0.0.1:{patient}/echo",
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert (await curl.communicate())[0] == b"key=a"
