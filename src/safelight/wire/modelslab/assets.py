"""What callers keep here: uploads, their deletion and that of pictures, and the cache.

Knows no body by heart: ``read`` and ``write`` do.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import cast, get_args

from fastapi import Response

from safelight.errors import Invalid, NotFound
from safelight.records import Asset, Job
from safelight.service.crop import crop_square
from safelight.service.media import Medium
from safelight.wire.http import RECEIPT, answer
from safelight.wire.keeping import must_store, read_expires_in
from safelight.wire.modelslab import describe as words
from safelight.wire.modelslab import families, write
from safelight.wire.modelslab.call import BOTH, Act, Call, Row
from safelight.wire.modelslab.families import Family
from safelight.wire.modelslab.read import read_picture_name, read_request_id, read_source
from safelight.wire.openapi import Shape

MOST_PER_PAGE = 30
UPLOADED = "an upload is there to be kept"
CROPPED = 512  # pixels; the side that the vendor's training pages ask of a cropped picture


async def base64_crop(call: Call) -> Response:
    source = read_source(call.form, "image", call.services.settings)
    crop = call.form.yes("crop", True)
    asset = await _upload(call, source, "image", square=crop, temp=False)
    return answer(write.write_uploaded(asset, call.base_url))


async def base64_to_url(call: Call) -> Response:
    field = call.form.either("base64_string", "init_image")
    source = read_source(call.form, field, call.services.settings)
    asset = await _upload(call, source, field, square=False, temp=True)
    return answer(write.write_lent(asset, call.base_url))


def base64_of(medium: Medium, field: str) -> Act:
    """The same for what is no picture: kept as it was sent, once its content is what the page is for."""

    async def base64_to_url(call: Call) -> Response:
        must_store(call.form, UPLOADED)
        source = read_source(call.form, field, call.services.settings)
        data, its = await call.services.inputs.file(source, field=field, medium=medium, payer=call.account.id)
        asset = await call.services.assets.keep(
            call.account, data, its, temp=True, expires_in=read_expires_in(call.form)
        )
        return answer(write.write_lent(asset, call.base_url))

    return base64_to_url


async def upload_image(call: Call) -> Response:
    source = read_source(call.form, "base64_image", call.services.settings)
    asset = await _upload(call, source, "base64_image", square=False, temp=False)
    return answer(
        {"status": "success", "message": "image uploaded", "image_url": write.upload_url(asset, call.base_url)}
    )


async def assets_generated(call: Call) -> Response:
    """Newest first. The only way to the ids of what one has made."""
    kind = call.form.text("type", limit=20, default="image")
    page = call.form.whole("page", 1, 1, 10**6)
    size = call.form.whole("per_page", 10, 1, MOST_PER_PAGE)
    total, jobs = (
        await call.services.history.made(call.account, (page - 1) * size, size) if kind == "image" else (0, [])
    )
    data = [{"id": job.id, "output": _urls(call, job)} for job in jobs]
    return answer(
        {"status": "success", "type": kind, "data": data, "pagination": _pagination(page, size, total, len(data))}
    )


def _urls(call: Call, job: Job) -> list[str]:
    return write.picture_urls(job, call.services.assets.output_names(job), call.base_url)


def _pagination(page: int, size: int, total: int, shown: int) -> dict[str, int | None]:
    first = (page - 1) * size + 1
    return {
        "current_page": page,
        "per_page": size,
        "total": total,
        "last_page": max(1, math.ceil(total / size)),
        "from": first if shown else None,
        "to": first + shown - 1 if shown else None,
    }


async def _upload(call: Call, source: str, field: str, *, square: bool, temp: bool) -> Asset:
    must_store(call.form, UPLOADED)
    bitmap = await call.services.inputs.bitmap(source, field=field, payer=call.account.id)
    kept = await crop_square(bitmap, CROPPED) if square else bitmap
    return await call.services.assets.upload(call.account, kept, temp=temp, expires_in=read_expires_in(call.form))


async def delete_image(call: Call) -> Response:
    """By request id, or by a file's name or address; what is unknown, another's, or of another type is answered alike."""
    erasure, form = call.services.erasure, call.form
    field, medium = form.either("request_id", "image"), _read_type(call)
    try:
        if field == "image" and form.has("image"):
            receipt = await erasure.delete_named(call.account, read_picture_name(form, "image"), medium)
        else:
            receipt = await erasure.delete(call.account, [read_request_id(form)], medium=medium)
    except NotFound:
        raise Invalid(field, "names no picture of yours") from None
    return answer(write.write_deleted(), headers={RECEIPT: receipt.id})


def _read_type(call: Call) -> Medium | None:
    """Older pages know none: then the id alone says what is meant."""
    word = call.form.choice("type", limit=20).lower()
    if word and word not in get_args(Medium):
        raise Invalid("type", f"must be one of {', '.join(get_args(Medium))}")
    return cast(Medium, word) if word else None


async def clear_cache(call: Call) -> Response:
    receipt = await call.services.erasure.clear_cache(call.account)
    return answer(write.write_cleared(call.family), headers={RECEIPT: receipt.id})


BASE64_CROP_OPERATION = words.other(
    "Upload a picture, cut to a square of 512 pixels unless crop is false",
    Shape(
        "Uploaded",
        words.fields(
            words.DONE | {"messege": {"type": "string"}, "link": {"type": "string"}, "request_id": {"type": "integer"}},
            "status",
            "messege",
            "link",
            "request_id",
        ),
    ),
    {
        "status": "success",
        "messege": "image uploaded",
        "link": "http://127.0.0.1:8000/uploads/8d2f0c1e9f534f0f8c1a6f1f5a0c7e11.png",
        "request_id": 2398,
    },
    Shape(
        "Upload",
        words.fields(
            words.KEY | {"image": {"type": "string", "minLength": 1}, "crop": words.yes("Cut to a square.", "true")},
            "image",
        ),
    ),
    image="data:image/png;base64,iVBORw0KGgo=",
    crop="true",
)
BASE64_TO_URL_OPERATION = words.other(
    "Upload a picture for 24 hours",
    Shape(
        "UploadedForADay",
        words.fields(words.DONE | {"id": {"type": "integer"}, "output": {"type": "array"}}, "status", "id", "output"),
    ),
    {"status": "success", "id": 1047, "output": [words.EXAMPLE_URL.replace("generations", "temp")]},
    Shape("UploadForADay", words.fields(words.KEY | {"base64_string": {"type": "string", "minLength": 1}})),
    base64_string="iVBORw0KGgo=",
)
DELETE_IMAGE_OPERATION = words.other(
    "Erase a generation or upload, by id or by file name",
    Shape("Deleted", words.fields(words.DONE | {"messege": {"const": "image deleted"}}, "status", "messege")),
    {"status": "success", "messege": "image deleted"},
    Shape(
        "Delete",
        words.fields(
            words.KEY
            | {
                "request_id": words.REQUEST_ID,
                "image": words.string("Instead of request_id: the file name or address of a picture."),
                "type": words.string("image, video, voice or 3d: what is of another type is not found."),
            }
        ),
    ),
    request_id=2398,
)
CLEAR_CACHE_OPERATION = words.other(
    "Erase everything that is kept for re-use",
    Shape("Cleared", words.fields(words.DONE | {"message": {"type": "string"}}, "status", "message")),
    {"status": "success", "message": "Cache cleared"},
)


UPLOAD_IMAGE_OPERATION = words.other(
    "Upload a picture",
    Shape("ImageUploaded", words.fields(words.DONE | {"image_url": {"type": "string"}}, "status", "image_url")),
    {"status": "success", "message": "image uploaded", "image_url": words.EXAMPLE_URL},
    Shape(
        "ImageUpload", words.fields(words.KEY | {"base64_image": {"type": "string", "minLength": 1}}, "base64_image")
    ),
    base64_image="iVBORw0KGgo=",
)
ASSETS_GENERATED_OPERATION = words.other(
    "The pictures that one has made, in pages (type, page, per_page up to 30)",
    Shape(
        "AssetsGenerated",
        words.fields(
            words.DONE | {"type": {"type": "string"}, "data": {"type": "array"}, "pagination": {"type": "object"}},
            "status",
            "data",
            "pagination",
        ),
    ),
    {
        "status": "success",
        "type": "image",
        "data": [{"id": 302455, "output": [words.EXAMPLE_URL]}],
        "pagination": {"current_page": 1, "per_page": 10, "total": 1, "last_page": 1, "from": 1, "to": 1},
    },
    Shape(
        "AssetsQuery",
        words.fields(
            words.KEY
            | {
                "type": words.string("image; of others there are none here."),
                "page": words.whole("The page.", 1, 1, None),
                "per_page": words.whole("How many of them.", 10, 1, MOST_PER_PAGE),
            }
        ),
    ),
    type="image",
)


def _lends(path: str, family: str, medium: Medium, field: str, what: str) -> Row:
    takes = Shape(
        f"UploadForADayOf{medium.title()}",
        words.fields(words.KEY | {field: {"type": "string", "minLength": 1}}, field),
    )
    said = words.other(
        f"Upload {what} for 24 hours",
        BASE64_TO_URL_OPERATION.gives,
        BASE64_TO_URL_OPERATION.answer,
        takes,
        **{field: "data:application/octet-stream;base64,Z2xURgIAAAA="},
    )
    return Row(path, families.FAMILIES[family], base64_of(medium, field), said)


def _lent() -> Iterator[Row]:
    yield _lends("v6/video/base64_to_url", "v6/video", "video", "init_obj", "a video")
    yield _lends("v6/voice/base64_to_url", "v6/voice", "voice", "init_audio", "sound")
    yield _lends("v6/3d/base64_to_url", "v6/3d", "3d", "init_obj", "a 3D model")
    yield _lends("v6/obj/base64_to_url", "v6/3d", "3d", "init_obj", "a 3D model")


def clears(family: Family) -> Row:
    return Row(f"{family.name}/clear_cache", family, clear_cache, CLEAR_CACHE_OPERATION, BOTH)


ROWS = (
    Row("assets_generated", families.V6, assets_generated, ASSETS_GENERATED_OPERATION),
    Row("v6/assets_generated", families.V6, assets_generated, ASSETS_GENERATED_OPERATION),
    Row("v1/enterprise/upload_image", families.ENTERPRISE, upload_image, UPLOAD_IMAGE_OPERATION),
    Row("v3/base64_crop", families.V3, base64_crop, BASE64_CROP_OPERATION),
    Row("v3/delete_image", families.V3, delete_image, DELETE_IMAGE_OPERATION),
    clears(families.V3),
    clears(families.V5),
    Row("v6/base64_to_url", families.V6, base64_to_url, BASE64_TO_URL_OPERATION),
    Row("v6/image_editing/base64_to_url", families.V6_EDITING, base64_to_url, BASE64_TO_URL_OPERATION),
    *_lent(),
)
