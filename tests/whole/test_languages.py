"""The vendor's blocks for Java, PHP, node and Python, and curl, run as they are run at home: from a picture to its deletion."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import httpx
import pytest

from tests.languages.clients import CLIENTS, PRINTED, Client
from tests.languages.recordings import keep, record, recordings, same
from tests.whole.conftest import a_folder
from tests.whole.running import Json, Running, eventually, serving
from tests.whole.website import Website

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bundled() -> Iterator[Running]:
    """A server as it comes: the bundled checkpoint, and no setting but that pictures may lie on this machine."""
    with a_folder() as data, serving(data, SAFELIGHT_PRIVATE_HOSTS='["127.0.0.1"]') as server:
        server.wait_ready()
        yield server


@pytest.fixture(params=CLIENTS, ids=lambda client: client.name)
def client(request: pytest.FixtureRequest) -> Client:
    found: Client = request.param
    if not found.is_here():
        pytest.skip(f"{found.name} is not here")
    return found


def test_from_a_picture_to_its_deletion(bundled: Running, site: Website, client: Client) -> None:
    def send(path: str, **given: object) -> Json:
        answer: Json = json.loads(
            client.send(f"{bundled.url}/api/{path}", PRINTED[path] | {"key": bundled.key} | given)
        )
        return answer

    def made() -> Json | None:
        answer = send("v3/fetch", request_id=asked["id"])
        return answer if answer["status"] != "processing" else None

    asked = send("v3/img2img", init_image=f"{site.url}/photo.png")
    answer = asked if asked["status"] == "success" else eventually(made, 300, "a picture")
    assert (answer["status"], asked["meta"]["W"], asked["meta"]["steps"]) == ("success", 512, 21)
    assert httpx.get(answer["output"][0]).content.startswith(b"\x89PNG")
    assert send("v5/clear_cache") == {"status": "success", "message": "Cache cleared"}
    assert send("v3/delete_image", request_id=asked["id"]) == {"status": "success", "messege": "image deleted"}
    assert httpx.get(answer["output"][0]).status_code == 404


def test_what_was_recorded_is_what_it_sends(client: Client) -> None:
    seen = record(client)
    if os.environ.get("UPDATE_RECORDINGS"):
        keep(seen)
    kept = next(one for one in recordings() if one.client == client.name)
    assert same(kept, seen), (kept, seen)
