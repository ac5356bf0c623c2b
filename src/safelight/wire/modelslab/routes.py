"""The vendor's index page as a table, and what each of its endpoints asks of the services.

Knows no body by heart: ``read`` and ``write`` do.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from fastapi import APIRouter, Request, Response

from safelight.errors import Invalid, NotFound
from safelight.records import Account, Asset, ImageRequest, Job, JobState, Operation
from safelight.service.assets import output_name
from safelight.service.crop import crop_square
from safelight.service.services import Services
from safelight.wire.forms import Form, read_form
from safelight.wire.http import RECEIPT, answer, authenticate, read_once
from safelight.wire.modelslab import describe, families, write
from safelight.wire.modelslab.families import Family
from safelight.wire.modelslab.read import (
    read_path_id,
    read_picture_name,
    read_request,
    read_request_id,
    read_source,
)
from safelight.wire.modelslab.schedulers import SCHEDULERS
from safelight.wire.openapi import Endpoint, add

CROPPED = 512  # pixels; the side that the vendor's training pages ask of a cropped picture


@dataclass(frozen=True, slots=True)
class Call:
    """One authenticated request."""

    services: Services
    account: Account
    form: Form
    family: Family
    request: Request

    @property
    def path_id(self) -> str | None:
        return self.request.path_params.get("id")

    @property
    def base_url(self) -> str:
        return self.services.settings.base_url


Act = Callable[[Call], Awaitable[Response]]


async def text2img(call: Call) -> Response:
    return await _generate(call, Operation.text2img)


async def img2img(call: Call) -> Response:
    return await _generate(call, Operation.img2img)


async def inpaint(call: Call) -> Response:
    return await _generate(call, Operation.inpaint)


async def _generate(call: Call, operation: Operation) -> Response:
    services, form = call.services, call.form
    request = read_request(form, operation, call.family, services.settings, services.enhance)
    needed = _PICTURES[operation]
    sources = {name: read_source(form, name, services.settings) for name in needed}
    if request.webhook:
        services.inputs.check_address(request.webhook, field="webhook")
    once = await read_once(call.request, form, operation.value)
    if once and (earlier := await services.jobs.earlier(call.account, once)):
        return await _answer_held(call, request, earlier)
    payer = call.account.id
    async with services.jobs.room(call.account):
        pictures = [
            await services.inputs.bitmap(sources[name], field=name, mode=mode, payer=payer)
            for name, mode in needed.items()
        ]
    job = await services.jobs.submit(call.account, request, *pictures, once=once)
    return await _answer_held(call, request, job)


async def _answer_held(call: Call, request: ImageRequest, job: Job) -> Response:
    """Held open until the job is final or patience ends, whichever is first."""
    if not request.instant_response:
        job = await call.services.jobs.wait(call.account, job.id, call.services.settings.hold_seconds)
    if job.state.final:
        return answer(_write_final(call, job))
    eta = await call.services.jobs.eta(job)
    names = [output_name(job.file_prefix, number) for number in range(request.samples)]
    links = write.picture_urls(job, names, call.base_url)
    return answer(write.write_processing(job, links, eta, call.base_url))


async def fetch(call: Call) -> Response:
    wanted = read_request_id(call.form) if call.path_id is None else read_path_id(call.path_id)
    job = await call.services.jobs.get(call.account, wanted)
    return answer(_write_final(call, job) if job.state.final else write.write_pending(call.family))


async def system_load(call: Call) -> Response:
    return answer(write.write_load(await call.services.jobs.load()))


async def system_details(call: Call) -> Response:
    load = await call.services.jobs.load()
    models = len(call.services.settings.models) or 1
    return answer({"model_count": models, "queue_time": write.write_load(load)["queue_time"], "status": "ok"})


async def schedulers_list(_call: Call) -> Response:
    return answer({"schedulers": [f"{name}Scheduler" for name in SCHEDULERS]})


async def base64_crop(call: Call) -> Response:
    source = read_source(call.form, "image", call.services.settings)
    crop = call.form.yes("crop", True)
    asset = await _upload(call, source, "image", square=crop, temp=False)
    return answer(write.write_uploaded(asset, call.base_url))


async def base64_to_url(call: Call) -> Response:
    field = call.form.either("base64_string", "init_image")
    source = read_source(call.form, field, call.services.settings)
    asset = await _upload(call, source, field, square=False, temp=True)
    return answer({"status": "success", "id": asset.request_id, "output": [write.upload_url(asset, call.base_url)]})


async def _upload(call: Call, source: str, field: str, *, square: bool, temp: bool) -> Asset:
    bitmap = await call.services.inputs.bitmap(source, field=field, payer=call.account.id)
    kept = await crop_square(bitmap, CROPPED) if square else bitmap
    return await call.services.assets.upload(call.account, kept, temp=temp)


async def delete_image(call: Call) -> Response:
    """By request id, or by a picture's name or address; what is unknown and what is another's are answered alike."""
    erasure, form = call.services.erasure, call.form
    field = form.either("request_id", "image")
    try:
        if field == "image" and form.has("image"):
            receipt = await erasure.delete_named(call.account, read_picture_name(form, "image"))
        else:
            receipt = await erasure.delete(call.account, [read_request_id(form)])
    except NotFound:
        raise Invalid(field, "names no picture of yours") from None
    return answer(write.write_deleted(), headers={RECEIPT: receipt.id})


async def clear_cache(call: Call) -> Response:
    receipt = await call.services.erasure.clear_cache(call.account)
    return answer(write.write_cleared(call.family), headers={RECEIPT: receipt.id})


def _write_final(call: Call, job: Job) -> write.Json:
    return write.write_success(job, _urls(call, job)) if job.state is JobState.succeeded else write.write_failed(job)


def _urls(call: Call, job: Job) -> list[str]:
    return write.picture_urls(job, call.services.assets.output_names(job), call.base_url)


def routes(services: Services) -> APIRouter:
    router = APIRouter()
    for row in TABLE:
        for method in row.methods:
            operation = describe.OPERATIONS[row.act.__name__]
            add(router, method, f"/api/{row.path}", _endpoint(services, row), operation)
    return router


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: a path under /api/, the family that it speaks as, what it does."""

    path: str
    family: Family
    act: Act
    methods: tuple[str, ...] = ("POST",)


def _endpoint(services: Services, row: Row) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        form = await read_form(request, services.settings)
        account = await authenticate(services, form)
        return await row.act(Call(services, account, form, row.family, request))

    return endpoint


def _fetches(family: Family) -> tuple[Row, Row]:
    """Published clients use both shapes, and some of them GET."""
    path = f"{family.name}/fetch"
    return Row(path, family, fetch, _BOTH), Row(f"{path}/{{id}}", family, fetch, _BOTH)


def _enterprise(family: Family) -> tuple[Row, ...]:
    """The pages of a customer's own server: each of its families has them all."""
    return (
        Row(f"{family.name}/text2img", family, text2img),
        Row(f"{family.name}/img2img", family, img2img),
        Row(f"{family.name}/inpaint", family, inpaint),
        *_fetches(family),
        Row(f"{family.name}/system_details", family, system_details),
        Row(f"{family.name}/schedulers_list", family, schedulers_list),
        Row(f"{family.name}/clear_cache", family, clear_cache, _BOTH),
    )


_BOTH = ("POST", "GET")
_PICTURES: dict[Operation, dict[str, Literal["RGB", "L"]]] = {
    Operation.text2img: {},
    Operation.img2img: {"init_image": "RGB"},
    Operation.inpaint: {"init_image": "RGB", "mask_image": "L"},
}

TABLE = (
    Row("v3/text2img", families.V3, text2img),
    Row("v3/img2img", families.V3, img2img),
    Row("v3/inpaint", families.V3, inpaint),
    *_fetches(families.V3),
    Row("v3/system_load", families.V3, system_load),
    Row("v3/base64_crop", families.V3, base64_crop),
    Row("v3/delete_image", families.V3, delete_image),
    Row("v3/clear_cache", families.V3, clear_cache, _BOTH),
    Row("v5/clear_cache", families.V5, clear_cache, _BOTH),
    Row("v6/base64_to_url", families.V6, base64_to_url),
    Row("v3/dreambooth", families.V3_DREAMBOOTH, text2img),
    Row("v3/dreambooth/img2img", families.V3_DREAMBOOTH, img2img),
    Row("v3/dreambooth/inpaint", families.V3_DREAMBOOTH, inpaint),
    *_fetches(families.V3_DREAMBOOTH),
    Row("v4/dreambooth", families.V4_DREAMBOOTH, text2img),
    Row("v4/dreambooth/img2img", families.V4_DREAMBOOTH, img2img),
    Row("v4/dreambooth/inpaint", families.V4_DREAMBOOTH, inpaint),
    *_fetches(families.V4_DREAMBOOTH),
    Row("v5/images/fetch/{id}", families.V5, fetch, _BOTH),
    Row("v6/images/text2img", families.V6_IMAGES, text2img),
    Row("v6/images/img2img", families.V6_IMAGES, img2img),
    Row("v6/images/inpaint", families.V6_IMAGES, inpaint),
    *_fetches(families.V6_IMAGES),
    Row("v6/realtime/text2img", families.V6_REALTIME, text2img),
    Row("v6/realtime/img2img", families.V6_REALTIME, img2img),
    Row("v6/realtime/inpaint", families.V6_REALTIME, inpaint),
    *_fetches(families.V6_REALTIME),
    Row("v6/image_editing/inpaint", families.V6_EDITING, inpaint),
    Row("v6/image_editing/base64_to_url", families.V6_EDITING, base64_to_url),
    *_fetches(families.V6_EDITING),
    Row("v7/images/text-to-image", families.V7_IMAGES, text2img),
    Row("v7/images/image-to-image", families.V7_IMAGES, img2img),
    Row("v7/images/inpaint", families.V7_IMAGES, inpaint),
    *_fetches(families.V7_IMAGES),
    *_enterprise(families.ENTERPRISE),
    *_enterprise(families.ENTERPRISE_TXT2IMG),
    *_enterprise(families.ENTERPRISE_IMAGES),
    *_enterprise(families.ENTERPRISE_REALTIME),
)
