"""The vendor's chat pages: handed on to a server of the operator's as they are, or in the older pages' own shape."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

from fastapi import Response
from starlette.responses import StreamingResponse

from safelight.errors import EngineFailed, Invalid
from safelight.service.chat import Reply
from safelight.wire import openapi
from safelight.wire.forms import Form
from safelight.wire.http import answer
from safelight.wire.modelslab import absent, families
from safelight.wire.modelslab import describe as words
from safelight.wire.modelslab.call import Call, Row
from safelight.wire.openapi import Shape

MOST_ANSWER = 2**22  # bytes of an answer that is read whole
NOT_SAID = "The language model's server gave no answer."


async def completions(call: Call) -> Response:
    """A chat as OpenAI's clients send it, streamed or not; the answer is the other server's, byte for byte."""
    return await _handed_on(call, "POST", "chat/completions")


async def text_completions(call: Call) -> Response:
    return await _handed_on(call, "POST", "completions")


async def language_models(call: Call) -> Response:
    return await _handed_on(call, "GET", "models")


async def uncensored_chat(call: Call) -> Response:
    """The older pages answer the text alone, under ``message``."""
    _offered(call)
    messages = call.form.fields.get("messages")
    if not isinstance(messages, list) or not messages:
        raise Invalid("messages", "must be a list of at least one message")
    async with call.services.chat.ask("POST", "chat/completions", _body(call.form) | {"stream": False}) as reply:
        found = await _whole(reply)
    try:
        said = json.loads(found)["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError):
        raise EngineFailed(NOT_SAID) from None
    return answer({"status": "success", "message": said})


def _offered(call: Call) -> None:
    if not call.services.chat.offered:
        raise absent.CHAT.refusal()


def _body(form: Form) -> dict[str, object]:
    """The vendor's name for the model is ``model_id``."""
    body = dict(form.fields)
    model = body.pop("model_id", None)
    return {"model": model, **body} if model else body


async def _handed_on(call: Call, method: str, path: str) -> Response:
    _offered(call)
    held = AsyncExitStack()
    reply = await held.enter_async_context(
        call.services.chat.ask(method, path, _body(call.form) if method == "POST" else None)
    )

    async def body() -> AsyncIterator[bytes]:
        async with held:
            async for chunk in reply.body:
                yield chunk

    return StreamingResponse(body(), reply.status, media_type=reply.media_type)


async def _whole(reply: Reply) -> bytes:
    found = bytearray()
    async for chunk in reply.body:
        found += chunk
        if len(found) > MOST_ANSWER:
            raise EngineFailed(NOT_SAID)
    return bytes(found)


_CHAT = Shape(
    "Chat",
    words.fields(words.KEY | {"messages": {"type": "array", "items": {"type": "object"}, "minItems": 1}}, "messages"),
)
_TEXT = Shape("Completion", words.fields(words.KEY | {"prompt": {"type": "string"}}))
_ANY = Shape("ChatAnswer", {"type": "object"})
_EXAMPLE = {"key": "", "messages": [{"role": "user", "content": "What is the capital of France?"}]}
_SAID = {"object": "chat.completion", "choices": [{"message": {"role": "assistant", "content": "Paris."}}]}


def _operation(summary: str, takes: Shape, example: object, given: object) -> openapi.Operation:
    return openapi.Operation(summary, _ANY, given, words.REFUSALS, takes, example)


_COMPLETIONS = _operation("A chat, handed on to the operator's language model", _CHAT, _EXAMPLE, _SAID)
_TEXTS = _operation("A text continued by the operator's language model", _TEXT, {"key": "", "prompt": "Ice"}, _SAID)
_MODELS = _operation("The operator's language models", words.KEY_ONLY, {"key": ""}, {"object": "list", "data": []})
_OLD = _operation("A chat, answered with its text alone", _CHAT, _EXAMPLE, {"status": "success", "message": "Paris."})

ROWS = (
    Row("v7/llm/chat/completions", families.V7_IMAGES, completions, _COMPLETIONS),
    Row("v7/llm/v1/models", families.V7_IMAGES, language_models, _MODELS, ("GET",)),
    Row("uncensored-chat/v1/chat/completions", families.V6, completions, _COMPLETIONS, bare=True),
    Row("uncensored-chat/v1/completions", families.V6, text_completions, _TEXTS, bare=True),
    Row("v5/uncensored_chat", families.V5, uncensored_chat, _OLD),
    Row("v6/llm/uncensored_chat", families.V6, uncensored_chat, _OLD),
    Row("v1/enterprise/uncensored_chat/start", families.ENTERPRISE, uncensored_chat, _OLD),
)
