"""Safelight's own dialect for jobs: lists, one, erasing one, and what happens to it as a stream of events. Knows no vendor's words."""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import fields

from fastapi import APIRouter, Request, Response

from safelight.errors import Invalid, NotFound, Unauthorized, Unavailable
from safelight.records import Account, Job, JobState, Standing, Task
from safelight.service.history import Filter
from safelight.service.retention import end_of
from safelight.service.services import Services
from safelight.wire.events import Event, stream
from safelight.wire.forms import Form
from safelight.wire.house import SAFE
from safelight.wire.http import RECEIPT, answer, path_id, picture_urls, read_caller
from safelight.wire.jobs_described import ERASED, EVENTS, JOB, JOBS
from safelight.wire.openapi import add

MOST_JOBS = 100  # in one page
MOST_WORDS = 200  # letters
UNTOLD = frozenset({"store", "webhook", "extras", "dialect", "route", "instant_response"})
END = "end"  # the id of the last event

Json = dict[str, object]


def routes(services: Services) -> APIRouter:
    router = APIRouter(tags=["Jobs"])

    async def page(request: Request) -> Response:
        form, account = await read_caller(services, request)
        before = form.whole("before", 0, 1, 2**63 - 1) or None
        limit = form.whole("limit", 20, 1, MOST_JOBS)
        found = await services.history.page(account, read_filter(form), before=before, limit=limit)
        return answer({"jobs": [write_job(services, job) for job in found.jobs], "next": found.next})

    async def one(request: Request) -> Response:
        _, account = await read_caller(services, request)
        job = await services.jobs.get(account, path_id(request))
        said = await services.assets.texts(account, job) if job.state is JobState.succeeded else []
        return answer(write_job(services, job) | ({"output": said} if said else {}))

    async def erase(request: Request) -> Response:
        _, account = await read_caller(services, request)
        job = path_id(request)
        receipt = await services.erasure.delete(account, [job])
        return answer({"id": job, "status": "erased", "receipt": receipt.id}, headers={RECEIPT: receipt.id})

    async def events(request: Request) -> Response:
        form, account = await read_caller(services, request)
        return await told_live(services, account, request, previews=form.yes("previews", False))

    for method in SAFE:
        add(router, method, "/v1/jobs", page, JOBS)
        add(router, method, "/v1/jobs/{id}", one, JOB)
    add(router, "DELETE", "/v1/jobs/{id}", erase, ERASED)
    router.add_api_route("/v1/jobs/{id}/events", events, methods=["GET"], response_class=Response, **EVENTS)
    return router


async def told_live(services: Services, account: Account, request: Request, *, previews: bool) -> Response:
    """What happens to the job that the path names, to a caller who is known by now."""
    seen = request.headers.get("last-event-id", "")
    standings = services.following.follow(account, path_id(request), previews=previews)
    first = await anext(standings, None)
    if first is None:
        raise Unavailable  # the process is about to end; another answers
    if seen == END and first.job.state.final:
        await standings.aclose()
        return Response(status_code=204)  # as the standard wants it: do not come back
    return stream(_told(services, first, standings, seen))


def read_filter(form: Form) -> Filter:
    states = [_state(word.strip()) for word in form.text("status", limit=100).split(",") if word.strip()]
    return Filter(
        states=states or None,
        task=_task(form),
        model=form.text("model", limit=200) or None,
        since=form.moment("since"),
        until=form.moment("until"),
        words=form.text("search", limit=MOST_WORDS),
    )


def write_job(services: Services, job: Job) -> Json:
    urls = picture_urls(job, services.assets.output_names(job), services.settings.base_url)
    request = job.request
    asked = {each.name: getattr(request, each.name) for each in fields(request)} if request else {}
    return {
        "id": job.id,
        "task": request.task.value if request else None,
        "status": job.state.value,
        "step": job.step,
        "steps": job.steps,
        "created_at": job.created_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
        "expires_at": end_of(job, services.settings),
        "seconds": job.seconds,
        "model": job.model,
        "output": urls if job.state is JobState.succeeded else [],
        "nsfw": list(job.nsfw),
        "error": job.error,
        "request": {name: value for name, value in asked.items() if name not in UNTOLD},
    }


async def _told(
    services: Services, first: Standing, more: AsyncGenerator[Standing, None], seen: str
) -> AsyncGenerator[Event, None]:
    """What the reader has seen before it lost the connection is not told again. Erasure is the last that is heard of a job."""
    standing, shown = first, None
    async with aclosing(more):
        while True:
            fresh = standing.preview if standing.preview is not shown else None
            event, shown = write_standing(services, standing, fresh), standing.preview
            if event.id != seen or fresh:
                yield event
            seen = ""
            try:
                coming = await anext(more, None)
            except NotFound:
                yield Event("erased", {"id": standing.job.id, "status": "erased"}, END)
                return
            except Unauthorized:
                return  # the key was revoked while its owner listened
            if coming is None:
                return
            standing = coming


def write_standing(services: Services, standing: Standing, preview: bytes | None) -> Event:
    job, left = standing.job, round(standing.seconds_left, 1)
    data: Json = {"id": job.id, "status": standing.state.value}
    match standing.state:
        case JobState.queued:
            data |= {"place": standing.place, "seconds_left": left}
            return Event("queued", data, f"0-{standing.place}")
        case JobState.running:
            data |= {"step": standing.step, "steps": standing.steps, "seconds_left": left}
            shown = {"preview": "data:image/webp;base64," + base64.b64encode(preview).decode()} if preview else {}
            return Event("step", data | shown, f"{standing.attempt}-{standing.step}")
        case JobState.succeeded:
            return Event("done", write_job(services, job), END)
        case _:
            return Event("failed", data | {"message": job.error or "The picture could not be made."}, END)


def _state(word: str) -> JobState:
    try:
        return JobState(word)
    except ValueError:
        raise Invalid("status", f"must be one or more of {', '.join(JobState)}, separated by commas") from None


def _task(form: Form) -> Task | None:
    word = form.text("task", limit=100)
    try:
        return Task(word) if word else None
    except ValueError:
        raise Invalid("task", f"must be one of {', '.join(Task)}") from None
