"""What making anything comes to on these pages: a job, held open for a while, then the answer or a promise. Knows no task."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from typing import Any

import structlog
from fastapi import Response

from safelight.errors import Unavailable
from safelight.records import AssetKind, Bitmap, Job, JobRequest, JobState
from safelight.service.assets import output_name
from safelight.wire.http import answer, read_once, told
from safelight.wire.keeping import receipt_of
from safelight.wire.modelslab import write
from safelight.wire.modelslab.call import Call
from safelight.wire.modelslab.read import read_delivery, read_source

log = structlog.get_logger(__name__)

PATIENCE = 600.0  # seconds that a caller is kept waiting for what is not stored

Read = Callable[[Bitmap, dict[str, Any]], JobRequest]  # what is asked of a picture, and how its answer is to be given


async def of_one_picture(call: Call, field: str, what: str, read: Read, *, single: bool = False) -> Response:
    """``what`` tells requests of one page from those of others; ``single`` is for the pages that answer with one address."""
    services, form = call.services, call.form
    source, delivery = read_source(form, field, services.settings), read_delivery(form, call.family)
    if delivery["webhook"]:
        services.inputs.check_address(delivery["webhook"], field="webhook")
    once = await read_once(call.request, form, f"{call.family.name} {what}")
    earlier = once and await services.jobs.earlier(call.account, once)
    if earlier:
        return await answer_held(call, earlier, single=single)
    async with services.jobs.room(call.account):
        picture = await services.inputs.bitmap(source, field=field, payer=call.account.id)
    job = await services.jobs.submit(call.account, read(picture, delivery), {AssetKind.init_image: picture}, once=once)
    return await answer_held(call, job, single=single)


async def answer_held(call: Call, job: Job, *, single: bool = False) -> Response:
    """Held open until the job is final or patience ends, whichever is first."""
    request = job.request
    if request and request.ignored:
        _wish(call, request.ignored)
    if request and not request.store:
        return await _answer_inline(call, job, single=single)
    if request and not request.instant_response:
        job = await call.services.jobs.wait(call.account, job.id, call.services.settings.hold_seconds)
    if job.state.final or request is None:
        return answer(await write_final(call, job, single=single), headers=told(job.request))
    eta = await call.services.jobs.eta(job)
    names = [output_name(job.file_prefix, number) for number in range(request.makes.count(AssetKind.output))]
    links = write.picture_urls(job, names, call.base_url)
    return answer(write.write_processing(job, links, eta, call.base_url), headers=told(job.request))


def _wish(call: Call, fields: Sequence[str]) -> None:
    log.info("fields without effect", fields=fields)
    for field in fields:
        call.services.wishes.note(f"field {field}")


async def _answer_inline(call: Call, job: Job, *, single: bool) -> Response:
    """What is not stored is in the answer itself, as base64, and nowhere else."""
    services, account = call.services, call.account
    async with services.unstored.answering(account, job) as gone:
        job = await services.jobs.wait(account, job.id, PATIENCE)
        if not job.state.final:
            raise Unavailable("The picture took too long, and nothing of it is kept. Send the request again.")
        files = await services.assets.outputs(account, job)
        texts = await services.assets.texts(account, job)
    texts += [base64.b64encode(data).decode() for data in files]
    shown: object = texts[0] if single and len(texts) == 1 else texts
    done = job.state is JobState.succeeded
    body = write.write_success(job, []) | {"output": shown} if done else write.write_failed(job)
    return answer(body, headers=told(job.request) | receipt_of(gone))


async def write_final(call: Call, job: Job, *, single: bool = False) -> write.Json:
    """Words stand where the addresses of pictures would."""
    if job.state is not JobState.succeeded:
        return write.write_failed(job)
    if said := await call.services.assets.texts(call.account, job):
        return write.write_success(job, []) | {"output": said}
    urls = write.picture_urls(job, call.services.assets.output_names(job), call.base_url)
    body = write.write_success(job, urls)
    return body | {"output": urls[0]} if single and len(urls) == 1 else body
