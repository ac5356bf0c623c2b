"""OpenAI's Images API: generations, edits and variations, whole or as a stream, and the models. What each asks of the services."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response

from safelight.errors import EngineFailed, Invalid, NotFound, SafelightError, Unavailable
from safelight.records import FURTHER, Account, AssetKind, Bitmap, ImageRequest, Job, JobState, Standing, Task
from safelight.service.catalogue import Choice
from safelight.service.services import Services
from safelight.wire.events import Event, stream
from safelight.wire.forms import Form, read_upload
from safelight.wire.http import answer, authenticate, picture_urls, read_caller, read_once, told
from safelight.wire.keeping import as_preferred, receipt_of
from safelight.wire.openai import write
from safelight.wire.openai.describe import OPERATIONS
from safelight.wire.openai.pictures import write_partial, write_picture
from safelight.wire.openai.read import (
    Kind,
    Wanted,
    check_names,
    read_model,
    read_request,
    read_sources,
    read_wanted,
    unread,
)
from safelight.wire.openapi import Endpoint, add

KINDS: dict[str, Kind] = {
    "/v1/images/generations": "generations",
    "/v1/images/edits": "edits",
    "/v1/images/variations": "variations",
}
PATHS = (*KINDS, "/v1/models")  # what lies at them and beneath them is this dialect's
PATIENCE = 600.0  # seconds; as long as the official clients wait
DEFAULT = "default"

Pictures = dict[AssetKind, Bitmap]
Develop = Callable[..., Awaitable[Bitmap]]  # takes the mode


@dataclass(frozen=True, slots=True)
class Call:
    """One authenticated request for pictures."""

    services: Services
    account: Account
    request: Request
    form: Form
    files: dict[str, list[bytes]]
    kind: Kind


def routes(services: Services) -> APIRouter:
    router = APIRouter(tags=["OpenAI Images"])
    for path, kind in KINDS.items():
        add(router, "POST", path, _endpoint(services, kind), OPERATIONS[path])
    for method in ("GET", "HEAD"):
        add(router, method, "/v1/models", _models(services), OPERATIONS["/v1/models"])
        add(router, method, "/v1/models/{id:path}", _model(services), OPERATIONS["/v1/models/{id}"])
    return router


def _endpoint(services: Services, kind: Kind) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        form, files = await read_upload(request, services.settings)
        account = await authenticate(services, form)
        check_names(form, kind)
        return await _generate(Call(services, account, request, as_preferred(form, account), files, kind))

    return endpoint


async def _generate(call: Call) -> Response:
    services, wanted = call.services, read_wanted(call.form)
    once = await read_once(call.request, call.form, call.kind)
    if once and (earlier := await services.jobs.earlier(call.account, once)):
        return await _answer(call, wanted, earlier)
    choice = await _choice(call)
    asked = read_request(call.form, call.kind, services.settings, choice, masked=False)
    pictures: Pictures = {}
    if call.kind != "generations":
        async with services.jobs.room(call.account, Task.generate):
            pictures = await _pictures(call)
            init, masked = pictures[AssetKind.init_image], AssetKind.mask_image in pictures
            if call.kind == "edits" and not masked:
                choice = await services.catalogue.for_edit(read_model(call.form), call.account, len(_inits(call)))
                pictures |= await _beside(call, choice.wants.pictures)
        asked = read_request(call.form, call.kind, services.settings, choice, init, masked=masked)
        asked = replace(asked, **_told(call, pictures, asked))
    return await _answer(call, wanted, await services.jobs.submit(call.account, asked, pictures, once=once))


async def _choice(call: Call) -> Choice:
    name = read_model(call.form)
    try:
        return await call.services.catalogue.checkpoint(name, call.account)
    except NotFound:
        raise write.NoSuchModel(f"The model '{name}' does not exist") from None


async def _pictures(call: Call) -> Pictures:
    """The first picture, and the mask where there is one: of its own, or what is transparent in the picture itself."""
    inits = _inits(call)
    if not inits:
        raise Invalid("image", "is required")
    found = {AssetKind.init_image: await inits[0](mode="RGB")}
    masks = _given(call, "mask") if call.kind == "edits" else []
    if masks:
        found[AssetKind.mask_image] = await masks[0](mode="A")
    elif call.kind == "edits" and (holes := await _holes(inits[0])):
        found[AssetKind.mask_image] = holes
    return found


async def _beside(call: Call, most: int) -> Pictures:
    """Further pictures, as many as the checkpoint may be spoken to of."""
    further = zip(FURTHER, _inits(call)[1 : max(1, most)], strict=False)
    return {kind: await init(mode="RGB") for kind, init in further}


def _told(call: Call, pictures: Pictures, asked: ImageRequest) -> dict[str, Any]:
    """Which pictures the instruction speaks of beside the first, and which of those given it does not."""
    beside = tuple(kind.label for kind in FURTHER if kind in pictures)
    note = unread(len(_inits(call)), 1 + len(beside))
    return {"beside": beside, "notes": (*asked.notes, note) if note else asked.notes}


def _inits(call: Call) -> list[Develop]:
    return _given(call, "image") or _given(call, "images")


def _given(call: Call, name: str) -> list[Develop]:
    """Each picture that was given under a name, to be decoded in the mode that it is for."""
    inputs, settings = call.services.inputs, call.services.settings
    files, sources = call.files.get(name, []), read_sources(call.form, name, settings.max_body_bytes)
    sent = [partial(inputs.decoded, data, field=name) for data in files]
    return [*sent, *(partial(inputs.bitmap, source, field=name, payer=call.account.id) for source in sources)]


async def _holes(init: Develop) -> Bitmap | None:
    """The picture itself is sound: all that can be wrong with it now is that nothing of it is transparent."""
    try:
        return await init(mode="A")
    except Invalid:
        return None


async def _answer(call: Call, wanted: Wanted, job: Job) -> Response:
    if wanted.stream:
        return stream(_events(call, wanted, job), told(job.request))
    async with call.services.unstored.answering(call.account, job) as gone:
        job = await call.services.jobs.wait(call.account, job.id, PATIENCE)
        asked = _finished(job)
        created = int(job.created_at.timestamp())
        body = write.write_images(asked, wanted, created, await _data(call, wanted, job))
    return answer(body, headers=told(asked) | receipt_of(gone))


async def _data(call: Call, wanted: Wanted, job: Job) -> list[write.Json]:
    if wanted.inline:
        made = await call.services.assets.outputs(call.account, job)
        return [{"b64_json": await write_picture(png, wanted)} for png in made]
    names = call.services.assets.output_names(job)
    return [{"url": url} for url in picture_urls(job, names, call.services.settings.base_url)]


async def _events(call: Call, wanted: Wanted, job: Job) -> AsyncGenerator[Event, None]:
    """So many partial pictures on the way, then each whole one. What goes wrong once the stream is open is an event too."""
    following = call.services.following.follow(call.account, job.id, previews=wanted.partials > 0)
    sent, asked = 0, job.request
    assert isinstance(asked, ImageRequest)
    created = int(job.created_at.timestamp())
    try:
        async with call.services.unstored.answering(call.account, job), aclosing(following):
            async for standing in following:
                job = standing.job
                if standing.preview and _due(standing, sent, wanted.partials):
                    b64 = await write_partial(standing.preview, (asked.width, asked.height), wanted)
                    yield _event(write.write_partial(call.kind, asked, wanted, created, sent, b64))
                    sent += 1
            _finished(job)
            for each in await _data(call, wanted, job):
                yield _event(write.write_completed(call.kind, asked, wanted, created, str(each["b64_json"])))
    except SafelightError as error:
        yield Event("error", write.error_body(error))


def _due(standing: Standing, sent: int, partials: int) -> bool:
    """They are spread evenly over the steps."""
    return sent < partials and standing.step * (partials + 1) >= (sent + 1) * standing.steps


def _event(body: write.Json) -> Event:
    return Event(str(body["type"]), body)


def _finished(job: Job) -> ImageRequest:
    """The request of a job that ended well. Raises what is to be said of any other."""
    if not job.state.final:
        raise Unavailable("The picture is not ready yet. It goes on being made.")
    if job.state is not JobState.succeeded:
        raise EngineFailed(job.error)
    if job.nsfw and all(job.nsfw):
        raise write.Blocked
    assert isinstance(job.request, ImageRequest)
    return job.request


def _models(services: Services) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        _, account = await read_caller(services, request)
        return answer({"object": "list", "data": [write.write_model(name) for name in await _names(services, account)]})

    return endpoint


def _model(services: Services) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        _, account = await read_caller(services, request)
        name = str(request.path_params["id"])
        if name not in await _names(services, account):
            raise write.NoSuchModel(f"The model '{name}' does not exist")
        return answer(write.write_model(name))

    return endpoint


async def _names(services: Services, account: Account) -> list[str]:
    entries = await services.catalogue.entries(account)
    return sorted({entry.name for entry in entries if entry.kind == "checkpoint" and entry.ready}) or [
        services.catalogue.default
    ]
