"""Tasks that exist: where one stands, and erasing many."""

from __future__ import annotations

from fastapi import Response

from safelight.errors import Invalid, NotFound
from safelight.wire.forms import Form
from safelight.wire.http import RECEIPT
from safelight.wire.openapi import Operation, Schema, Shape
from safelight.wire.tensorslab.call import Act, Call
from safelight.wire.tensorslab.write import described, write_done, write_task

MOST_TASKS = 1_000
MOST_TASK_ID = 200


async def infobytaskid(call: Call) -> Response:
    task = _task("taskid", call.form.fields.get("taskid"))
    try:
        job = await call.services.jobs.find(call.account, task)
    except NotFound:
        raise Invalid("taskid", "names no task of yours") from None
    names = call.services.assets.output_names(job)
    return write_done(write_task(job, names, call.services.settings.base_url), "OK")


async def deleteimagestask(call: Call) -> Response:
    """All of them, or none and the unknown ones named."""
    receipt = await call.services.erasure.delete_tasks(call.account, read_tasks(call.form), "image")
    return write_done({"status": "Success"}, headers={RECEIPT: receipt.id})


async def deletevideotask(call: Call) -> Response:
    """No video is made here, but one that was sent has an id too."""
    receipt = await call.services.erasure.delete_tasks(call.account, read_tasks(call.form), "video")
    return write_done({"status": "Success"}, headers={RECEIPT: receipt.id})


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

ROWS: dict[str, tuple[Act, Operation]] = {
    "/v1/images/infobytaskid": (
        infobytaskid,
        described(
            "Where a task stands: image_status 1 queued, 2 processing, 3 completed, 4 failed",
            _INFO,
            {"taskid": _PREFIX},
            _TASK_DATA,
            said="OK",
        ),
    ),
    "/v1/images/deleteimagestask": (
        deleteimagestask,
        described("Erase tasks: all of them, or none", _DELETE, {"taskids": [_PREFIX]}, {"status": "Success"}),
    ),
    "/v1/video/deletevideotask": (
        deletevideotask,
        described(
            "Erase videos, by their ids: all of them, or none", _DELETE, {"taskids": ["1047"]}, {"status": "Success"}
        ),
    ),
}
