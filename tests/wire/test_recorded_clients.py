"""The bytes of clients in other languages, as they were recorded, over a raw socket: from a picture to its deletion."""

from __future__ import annotations

import json
import socket
import time
from http.client import HTTPResponse
from typing import Any

import pytest

from tests.languages.clients import CLIENTS, PRINTED
from tests.languages.recordings import Recording, recordings

from .site import PHOTO, Json, Site

PATIENCE = 120.0  # seconds


def spoken(site: Site, recording: Recording, path: str, key: str, *, apart: bool, **values: Any) -> Json:
    """The answer to a recorded request, its head and body in one piece or ``apart``."""
    host = f"127.0.0.1:{site.settings.port}"
    head, body = recording.filled(path, host, key, **values)
    with socket.create_connection(("127.0.0.1", site.settings.port), timeout=90) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in [head, body] if apart else [head + body]:
            connection.sendall(piece)
        reply = HTTPResponse(connection)
        reply.begin()
        assert reply.status == 200, reply.read()
        answer: Json = json.loads(reply.read())
        return answer


def test_every_client_was_recorded() -> None:
    assert {one.client for one in recordings()} == {client.name for client in CLIENTS}
    assert all(one.bodies.keys() == PRINTED.keys() for one in recordings())


@pytest.mark.parametrize("recording", recordings(), ids=lambda one: one.client)
@pytest.mark.parametrize("apart", [False, True])
def test_from_a_picture_to_its_deletion(site: Site, key: str, recording: Recording, *, apart: bool) -> None:
    def say(path: str, **values: Any) -> Json:
        return spoken(site, recording, path, key, apart=apart, **values)

    made = say("v3/img2img", picture=PHOTO)
    until = time.monotonic() + PATIENCE
    while (fetched := say("v3/fetch", number=made["id"]))["status"] == "processing" and time.monotonic() < until:
        time.sleep(0.05)
    assert (fetched["status"], made["meta"]["W"], made["meta"]["steps"]) == ("success", 512, 21)
    assert site.http.get(fetched["output"][0]).content.startswith(b"\x89PNG")
    assert say("v5/clear_cache") == {"status": "success", "message": "Cache cleared"}
    assert say("v3/delete_image", number=made["id"]) == {"status": "success", "messege": "image deleted"}
    assert site.http.get(fetched["output"][0]).status_code == 404
