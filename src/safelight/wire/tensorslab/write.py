"""The ``{code, msg, data}`` envelope of the TensorsLab dialect: tasks, errors, and how its endpoints are described."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import Response

from safelight.errors import NoCredit, NotFound
from safelight.records import ImageRequest, Job, JobState
from safelight.settings import Settings
from safelight.wire.absence import Absence
from safelight.wire.http import answer, refusal_of
from safelight.wire.openapi import Operation, Refusals, Shape

SUCCESS, FAILURE, NO_CREDIT = 1000, 9999, 9000
VIDEO = Absence("video", "This server makes pictures and no video; it has no engine for that.")
NO_VIDEO = frozenset(
    f"/v1/video/{name}" for name in ["seedancev1", "seedancev15pro", "seedancev1profast", "seedancev2", "infobytaskid"]
)

Json = dict[str, object]


def write_done(data: object, said: str = "Successfully", headers: Mapping[str, str] | None = None) -> Response:
    return answer({"code": SUCCESS, "msg": said, "data": data}, headers=headers)


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
        "category": request.route if request.dialect == "tensorslab" else request.operation.value,
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


_STATUS = {
    JobState.queued: 1,
    JobState.running: 2,
    JobState.succeeded: 3,
    JobState.failed: 4,
    JobState.cancelled: 4,
}
ENVELOPE = Shape(
    "Envelope",
    {
        "type": "object",
        "properties": {"code": {"enum": [1000, 9000, 9999]}, "msg": {"type": "string"}, "data": {"type": "object"}},
        "required": ["code", "msg"],
    },
)
REFUSALS = Refusals(
    ENVELOPE,
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


def described(
    summary: str, takes: Shape, example: object, data: object, *, said: str = "Successfully", files: bool = False
) -> Operation:
    answered = {"code": SUCCESS, "msg": said, "data": data}
    return Operation(summary, ENVELOPE, answered, REFUSALS, takes, example, forms=False, files=files)
