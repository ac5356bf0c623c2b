"""Chats are handed on to a server of the operator's, whole and streamed, without the caller's key; without one they answer 501."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from openai import InternalServerError, OpenAI
from openai.types.chat import ChatCompletionUserMessageParam

from safelight.service.chat import Chat
from safelight.settings import read_settings
from tests.wire.site import Json, Site

STREAM = b'data: {"choices": [{"delta": {"content": "Par"}}]}\n\ndata: {"choices": [{"delta": {"content": "is"}}]}\n\ndata: [DONE]\n\n'
WHOLE = {"object": "chat.completion", "choices": [{"message": {"role": "assistant", "content": "Paris"}}]}
ASKED: list[ChatCompletionUserMessageParam] = [{"role": "user", "content": "What is the capital of France?"}]


@dataclass
class Other:
    """An OpenAI-compatible server as far as this needs one."""

    address: str
    asked: list[tuple[str, str, Json]] = field(default_factory=list)  # path, Authorization, body


@pytest.fixture
def other(site: Site) -> Iterator[Other]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            found.asked.append((self.path, self.headers["authorization"], body))
            if body.get("model") == "nobody":
                return self._answer(404, "application/json", b'{"error": {"message": "no such model"}}')
            if body.get("stream"):
                return self._answer(200, "text/event-stream", STREAM)
            return self._answer(200, "application/json", json.dumps(WHOLE).encode())

        def do_GET(self) -> None:
            found.asked.append((self.path, self.headers["authorization"], {}))
            self._answer(200, "application/json", b'{"object": "list", "data": [{"id": "llama"}]}')

        def _answer(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Other(f"http://127.0.0.1:{server.server_port}/v1")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    before = site.services.chat
    object.__setattr__(site.services, "chat", Chat(read_settings(chat_url=found.address, chat_key="theirs")))
    yield found
    object.__setattr__(site.services, "chat", before)
    server.shutdown()
    server.server_close()


def test_a_chat_is_handed_on_without_the_callers_key(site: Site, key: str, other: Other) -> None:
    reply = site.post("v7/llm/chat/completions", key, model_id="llama", messages=ASKED, temperature=0.7)
    assert (reply.status_code, reply.json()) == (200, WHOLE)
    body = {"model": "llama", "messages": ASKED, "temperature": 0.7}
    assert other.asked == [("/v1/chat/completions", "Bearer theirs", body)]


# llama-index-llms-modelslab 0.3.1 asks at the second, by OpenAI's client.
@pytest.mark.parametrize("base", ["api/uncensored-chat/v1", "uncensored-chat/v1"])
def test_openais_client_chats_at_the_vendors_own_addresses(site: Site, key: str, other: Other, base: str) -> None:
    with OpenAI(base_url=f"{site.settings.base_url}/{base}", api_key=key) as client:
        said = client.chat.completions.create(model="llama-3.1-8b-uncensored", messages=ASKED)
        streamed = client.chat.completions.create(model="llama-3.1-8b-uncensored", messages=ASKED, stream=True)
        assert said.choices[0].message.content == "Paris"
        assert [part.choices[0].delta.content for part in streamed] == ["Par", "is"]
    assert {path for path, _, _ in other.asked} == {"/v1/chat/completions"}


def test_openais_client_tells_what_is_missing_and_is_told_not_to_ask_again(site: Site, key: str) -> None:
    with (
        OpenAI(base_url=f"{site.settings.base_url}/uncensored-chat/v1", api_key=key) as client,
        pytest.raises(InternalServerError, match="SAFELIGHT_CHAT_URL") as told,
    ):
        client.chat.completions.create(model="llama-3.1-8b-uncensored", messages=ASKED)
    assert told.value.response.headers["x-should-retry"] == "false"


def test_a_stream_comes_through_byte_for_byte(site: Site, key: str, other: Other) -> None:
    reply = site.post("uncensored-chat/v1/chat/completions", key, messages=ASKED, stream=True)
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert reply.content == STREAM


def test_what_the_other_server_refuses_is_told_as_it_said_it(site: Site, key: str, other: Other) -> None:
    reply = site.post("v7/llm/chat/completions", key, model="nobody", messages=ASKED)
    assert (reply.status_code, reply.json()) == (404, {"error": {"message": "no such model"}})


@pytest.mark.parametrize("path", ["v5/uncensored_chat", "v6/llm/uncensored_chat"])
def test_the_older_pages_answer_the_text_alone(site: Site, key: str, other: Other, path: str) -> None:
    assert site.post(path, key, messages=ASKED, max_tokens=1000).json() == {"status": "success", "message": "Paris"}
    refused = site.post(path, key, messages="hello")
    assert (refused.status_code, refused.json()["message"]) == (400, "messages must be a list of at least one message")


def test_models_are_listed(site: Site, key: str, other: Other) -> None:
    reply = site.http.get("/api/v7/llm/v1/models", headers={"Authorization": f"Bearer {key}"})
    assert reply.json()["data"] == [{"id": "llama"}]


def test_a_server_that_is_away_is_said_to_be(site: Site, key: str, other: Other) -> None:
    object.__setattr__(site.services, "chat", Chat(read_settings(chat_url="http://127.0.0.1:9/v1")))
    reply = site.post("v7/llm/chat/completions", key, messages=ASKED)
    assert reply.status_code == 503
    assert reply.json()["message"].startswith("The language model's server does not answer.")


def test_without_a_server_the_caller_is_told_what_is_missing(site: Site, key: str) -> None:
    reply = site.post("v7/llm/chat/completions", key, messages=ASKED)
    assert (reply.status_code, "SAFELIGHT_CHAT_URL" in reply.json()["message"]) == (501, True)
    assert site.http.post("/api/v7/llm/chat/completions", json={"messages": ASKED}).status_code == 401
