"""AUTOMATIC1111's API as a table: under /sdapi/v1, and what its ControlNet extension lists, who answers what.

A key comes by Basic authentication, or as everywhere here.
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Request, Response

from safelight.service.services import Services
from safelight.wire.a1111 import extras, lists, making
from safelight.wire.a1111.describe import operation
from safelight.wire.a1111.making import Call
from safelight.wire.a1111.read import DIALECT
from safelight.wire.forms import Form, read_form
from safelight.wire.http import authenticate
from safelight.wire.keeping import as_preferred
from safelight.wire.openapi import Endpoint, Operation, add

PREFIX, CONTROLNETS = "/sdapi/v1", "/controlnet"

Act = Callable[[Call], Awaitable[Response]]

READ: dict[str, Act] = {
    "progress": making.progress,
    "options": lists.options,
    "sd-models": lists.sd_models,
    "samplers": lists.samplers,
    "schedulers": lists.schedulers,
    "loras": lists.loras,
    "embeddings": lists.embeddings,
    "upscalers": lists.upscalers,
    "latent-upscale-modes": lists.nothing,
    "sd-vae": lists.vaes,
    "sd-modules": lists.nothing,
    "hypernetworks": lists.nothing,
    "face-restorers": lists.nothing,
    "realesrgan-models": lists.nothing,
    "prompt-styles": lists.nothing,
    "script-info": lists.nothing,
    "extensions": lists.nothing,
    "scripts": lists.scripts,
    "cmd-flags": lists.cmd_flags,
    "memory": lists.memory,
}
WRITE: dict[str, Act] = {
    "txt2img": making.txt2img,
    "img2img": making.img2img,
    "interrupt": making.interrupt,
    "skip": making.interrupt,
    "options": lists.set_options,
    "extra-single-image": extras.extra_single_image,
    "extra-batch-images": extras.extra_batch_images,
    "png-info": extras.png_info,
    "interrogate": extras.interrogate,
    "refresh-checkpoints": lists.done,
    "refresh-vae": lists.done,
    "refresh-loras": lists.done,
    "refresh-embeddings": lists.done,
    "unload-checkpoint": lists.done,
    "reload-checkpoint": lists.done,
}
LISTED: dict[str, Act] = {
    "version": lists.controlnet_version,
    "model_list": lists.controlnet_models,
    "module_list": lists.controlnet_modules,
    "settings": lists.controlnet_settings,
}
OPERATIONS: dict[tuple[str, str], Operation] = {
    **{(method, path): operation(method, path) for method in ("GET", "HEAD") for path in READ},
    **{("POST", path): operation("POST", path) for path in WRITE},
    **{("GET", f"{CONTROLNETS}/{path}"): operation("GET", f"controlnet/{path}") for path in LISTED},
}


def routes(services: Services) -> APIRouter:
    router = APIRouter(tags=["AUTOMATIC1111"])
    for method, acts in (("GET", READ), ("HEAD", READ), ("POST", WRITE)):
        for path, act in acts.items():
            add(router, method, f"{PREFIX}/{path}", _endpoint(services, act), OPERATIONS[method, path])
    for path, act in LISTED.items():
        place = f"{CONTROLNETS}/{path}"
        add(router, "GET", place, _endpoint(services, act), OPERATIONS["GET", place])
    return router


def _endpoint(services: Services, act: Act) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        form = with_key(await read_form(request, services.settings), request.headers.get("authorization", ""))
        account = await authenticate(services, form)
        options = await services.preferences.get(account, DIALECT)
        return await act(Call(services, account, request, as_preferred(form, account), options))

    return endpoint


def with_key(form: Form, authorization: str) -> Form:
    """The password of Basic authentication, or the user's name where that is all; whatever is left may stand for the user."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return form
    try:
        user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except ValueError:
        return Form(form.fields)
    return Form(form.fields, password or user)
