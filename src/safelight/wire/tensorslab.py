"""The TensorsLab dialect: task status and batch deletion in its ``{code, msg, data}`` envelope.

Knows no other dialect.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Request, Response

from safelight.errors import Invalid, NoCredit, NotFound
from safelight.records import Account, ImageRequest, Job, JobState
from safelight.service.services import Services
from safelight.settings import Settings
from safelight.wire.absence import Absence
from safelight.wire.forms import Form, read_form
from safelight.wire.http import RECEIPT, answer, authenticate, refusal_of
from safelight.wire.openapi import Endpoint, Operation, Refusals, Schema, Shape, add

SUCCESS, FAILURE, NO_CREDIT = 1000, 9999, 9000
MOST_TASKS = 1_000
MOST_TASK_ID = 200

VIDEO = Absence("video", "This server makes pictures and no video; it has no engine for that.")
NO_VIDEO = frozenset(
    f"/v1/video/{name}"
    for name in ["seedancev1", "seedancev15pro", "seedancev1profast", "seedancev2", "infobytaskid", "deletevideotask"]
)

Json = dict[str, object]
Act = Callable[[Services, Account, Form], Awaitable[Response]]


async def infobytaskid(services: Services, account: Account, form: Form) -> Response:
    task = _task("taskid", form.fields.get("taskid"))
    try:
        job = await services.jobs.find(account, task)
    except NotFound:
        raise Invalid("taskid", "names no task of yours") from None
    names = services.assets.output_names(job)
    return answer({"code": SUCCESS, "msg": "Successfully", "data": write_task(job, names, services.settings.base_url)})


async def deleteimagestask(services: Services, account: Account, form: Form) -> Response:
    """All of them, or none and the unknown ones named."""
    receipt = await services.erasure.delete_tasks(account, read_tasks(form))
    return answer(
        {"code": SUCCESS, "msg": "Successfully", "data": {"status": "Success"}}, headers={RECEIPT: receipt.id}
    )


def read_tasks(form: Form) -> list[str]:
    """Every id once, in order."""
    given = form.fields.get("taskids")
    if not isinstance(given, list) or not given:
        raise Invalid("taskids", "must be a list of at least one task id")
    if len(given) > MOST_TASKS:
        raise Invalid("taskids", f"must hold at most {MOST_TASKS} task ids")
    return list(dict.fromkeys(_task("taskids", task) for task in given))


def _task(field: str, given: object) -> str:
    if given in (None, ""):
        raise Invalid(field, "is required")
    if isinstance(given, bool) or not isinstance(given, str | int) or len(str(given)) > MOST_TASK_ID:
        raise Invalid(field, f"must be a task id: a string of at most {MOST_TASK_ID} characters")
    return str(given)


def write_task(job: Job, names: list[str], base_url: str) -> Json:
    request = job.request
    if not isinstance(request, ImageRequest):
        return {"taskid": job.file_prefix, "url": [], "image_status": _STATUS[JobState.cancelled]}
    folder = "temp" if request.temp else "generations"
    done = job.state is JobState.succeeded
    data: Json = {
        "taskid": job.file_prefix,
        "starttime": f"{job.created_at:%Y-%m-%d %H:%M:%S}",
        "url": [f"{base_url}/{folder}/{name}" for name in names] if done else [],
        "image_status": _STATUS[job.state],
        "width": request.width,
        "height": request.height,
        "category": request.operation.value,
        "prompt": request.prompt,
        "negative": request.negative_prompt,
        "origseed": request.seed,
    }
    failed = job.state in (JobState.failed, JobState.cancelled)
    return data | {"error_message": job.error or "The picture could not be made."} if failed else data


def write_error(error: Exception, _path: str, _settings: Settings) -> Response:
    refusal = refusal_of(error)
    if isinstance(error, NotFound) and error.ids:
        named = ", ".join(str(task) for task in error.ids)
        said = f"taskids names unknown tasks: {named}"
        return answer({"code": FAILURE, "msg": said, "data": {"status": "Failed"}}, 400)
    code = NO_CREDIT if isinstance(error, NoCredit) else FAILURE
    return answer({"code": code, "msg": refusal.sentence}, refusal.status, refusal.headers)


def find_absent(path: str) -> tuple[str, Absence] | None:
    return (path, VIDEO) if path in NO_VIDEO else None


def routes(services: Services) -> APIRouter:
    router = APIRouter()
    for path, (act, operation) in TABLE.items():
        add(router, "POST", path, _endpoint(services, act), operation)
    return router


def _endpoint(services: Services, act: Act) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        form = await read_form(request, services.settings)
        account = await authenticate(services, form)
        return await act(services, account, form)

    return endpoint


_STATUS = {
    JobState.queued: 1,
    JobState.running: 2,
    JobState.succeeded: 3,
    JobState.failed: 4,
    JobState.cancelled: 4,
}
_ENVELOPE = Shape(
    "Envelope",
    {
        "type": "object",
        "properties": {"code": {"enum": [1000, 9000, 9999]}, "msg": {"type": "string"}, "data": {"type": "object"}},
        "required": ["code", "msg"],
    },
)
_REFUSALS = Refusals(
    _ENVELOPE,
    {
        status: (text, {"code": FAILURE, "msg": said})
        for status, text, said in (
            (400, "Request parameter error", "taskids must be a list of at least one task id"),
            (401, "No key, or one that is not valid", "Invalid API key"),
            (
                402,
                "The wallet does not hold the price; code 9000",
                "Insufficient credits. Please add more credits to continue.",
            ),
            (408, "The body did not arrive in time", "body must arrive within 60 seconds"),
            (413, "The body is too large", "body must have at most 25,165,824 bytes"),
            (429, "Too much is waiting", "Try again later."),
            (500, "Our mistake", "Internal server error. Please try again."),
            (503, "A part of the server is away", "Service temporarily unavailable. Please try again later."),
        )
    },
)
_TASK: Schema = {"type": ["string", "integer"], "description": "The task id, or the number of the request."}
_INFO = Shape("TaskQuery", {"type": "object", "properties": {"taskid": _TASK}, "required": ["taskid"]})
_TASKS: Schema = {"type": "array", "items": _TASK, "minItems": 1, "maxItems": MOST_TASKS}
_DELETE = Shape(
    "TaskDeletion",
    {"type": "object", "properties": {"uid": {"type": "string"}, "taskids": _TASKS}, "required": ["taskids"]},
)
_PREFIX = "05c3260d-6a2e-4aa5-82f0-e952f2a5fa10"
_TASK_DATA = {
    "taskid": _PREFIX,
    "starttime": "2026-11-21 12:00:00",
    "url": [f"http://127.0.0.1:8000/generations/{_PREFIX}-0.png"],
    "image_status": 3,
    "width": 512,
    "height": 512,
    "category": "img2img",
    "prompt": "a cat sitting on a bench",
    "negative": "",
    "origseed": 1793745243,
}


def _operation(summary: str, takes: Shape, example: object, data: object) -> Operation:
    answered = {"code": SUCCESS, "msg": "Successfully", "data": data}
    return Operation(summary, "TensorsLab", _ENVELOPE, answered, _REFUSALS, takes, example, forms=False)


TABLE: dict[str, tuple[Act, Operation]] = {
    "/v1/images/infobytaskid": (
        infobytaskid,
        _operation(
            "Where a task stands: image_status 1 queued, 2 processing, 3 completed, 4 failed",
            _INFO,
            {"taskid": _PREFIX},
            _TASK_DATA,
        ),
    ),
    "/v1/images/deleteimagestask": (
        deleteimagestask,
        _operation("Erase tasks: all of them, or none", _DELETE, {"taskids": [_PREFIX]}, {"status": "Success"}),
    ),
}
