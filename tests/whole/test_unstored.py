"""A picture that is not stored, by a server and a worker that are processes of their own."""

from __future__ import annotations

import base64
import secrets
from concurrent.futures import ThreadPoolExecutor

from tests.service.test_unstored import found
from tests.whole.running import Running


def test_it_is_lent_and_answered_and_no_file_ever_shows_it(server: Running) -> None:
    """The words are looked for in the whole data directory, the database's files and logs too, while it is made and after."""
    canary = f"CANARY{secrets.token_hex(16)}"
    stored = server.picture(server.draw(prompt="a cat"))
    told = server.draw(prompt="a cat", store="none")
    assert base64.b64decode(told["output"][0]) == stored
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(server.draw, prompt=canary, track_id=canary, num_inference_steps=51, store="none")
        while not asked.done():
            assert found(server.data, (canary.encode(),)) == []
        assert asked.result()["status"] == "success"
    assert found(server.data, (canary.encode(),)) == []
