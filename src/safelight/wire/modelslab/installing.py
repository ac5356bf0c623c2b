"""Installing a model by its address, and deleting one: the vendor's `load_model` under its names."""

from __future__ import annotations

import re

from fastapi import Response

from safelight.errors import Invalid
from safelight.records import InstallRequest
from safelight.service.folder import INDEX, is_index
from safelight.wire.forms import Form
from safelight.wire.http import RECEIPT, answer, told
from safelight.wire.modelslab import describe as words
from safelight.wire.modelslab import families
from safelight.wire.modelslab.absent import INSTALLING
from safelight.wire.modelslab.call import BOTH, Call, Row
from safelight.wire.modelslab.families import Family
from safelight.wire.modelslab.read import MOST_NAME, MOST_TRACK_ID, MOST_URL, read_webhook
from safelight.wire.openapi import Operation, Schema, Shape

LAYOUTS = ("safetensors", "diffusers")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
KINDS = {  # by the category that callers give; any other is a checkpoint
    "lora": "lora",
    "controlnet": "controlnet",
    "embeddings": "embedding",
    "embedding": "embedding",
    "vae": "vae",
}
CALLED = {"lora": "a LoRA", "controlnet": "a ControlNet", "embedding": "an embedding", "vae": "an autoencoder"}
OF_VAES = {"vae_url": "url", "vae_id": "model_id"}
WITHOUT_EFFECT = {
    "force_load": "a name is taken until its model is deleted",
    "from_safetensors": "nothing else is installed",
    "hf_upload": "nothing is handed on",
    "model_image": "lists have no pictures",
    "model_name": "a model goes by its `model_id`",
    "revision": "weights stay as their file has them",
    "upcast_attention": "number types are chosen by timing",
}


async def load_model(call: Call) -> Response:
    return await _load(call, read_install(call.form, call.family), "model load started")


async def load_vae(call: Call) -> Response:
    """The same in the words of a page of its own."""
    given = {ours: call.form.fields.get(theirs) for theirs, ours in OF_VAES.items()}
    form = Form({**call.form.fields, **given, "model_category": "vae"}, call.form.key)
    try:
        return await _load(call, read_install(form, call.family), "VAE load started")
    except Invalid as error:
        theirs = {ours: name for name, ours in OF_VAES.items()}
        raise type(error)(theirs.get(error.field, error.field), error.rule) from error


async def _load(call: Call, request: InstallRequest, said: str) -> Response:
    """Answered once it is accepted; the model lists, fetch and the webhook tell what came of it."""
    services = call.services
    if not services.settings.account_model_bytes:
        raise INSTALLING.refusal()
    for field, address in (("url", request.url), ("webhook", request.webhook)):
        if address:
            services.inputs.check_address(address, field=field)
    _check_layout(call.form, request)
    job = await services.models.install(call.account, request)
    done = {"status": "success", "message": said, "id": job.id, "model_id": request.name}
    return answer(done, headers=told(job.request))


def _check_layout(form: Form, request: InstallRequest) -> None:
    """One file, or a folder by its index."""
    if is_index(request.url) and request.kind != "checkpoint":
        raise Invalid("url", f"must lead to one safetensors file, for {CALLED[request.kind]}")
    if form.text("model_format", limit=MOST_NAME).lower() == "diffusers" and not is_index(request.url):
        raise Invalid("url", f"must be that of the folder's {INDEX}, where model_format is diffusers")


async def delete_model(call: Call) -> Response:
    receipt = await call.services.models.delete(call.account, call.form.required("model_id", limit=MOST_NAME))
    return answer({"status": "success", "message": "Model deleted on server"}, headers={RECEIPT: receipt.id})


def read_install(form: Form, family: Family) -> InstallRequest:
    """Raises Invalid naming the field and the rule."""
    name = form.required("model_id", limit=MOST_NAME)
    if not NAME.fullmatch(name):
        raise Invalid("model_id", "must be up to 100 letters, digits, dots, dashes or underscores")
    category = (form.text("model_category", limit=MOST_NAME) or form.text("model_type", limit=MOST_NAME)).lower()
    if form.text("model_format", limit=MOST_NAME).lower() not in ("", *LAYOUTS):
        raise Invalid("model_format", "must be safetensors or diffusers; others can hold code")
    visible = form.text("model_visibility", limit=MOST_NAME).lower() or "private"
    if visible not in ("public", "private"):
        raise Invalid("model_visibility", "must be public or private")
    return InstallRequest(
        url=form.required("url", limit=MOST_URL).strip(),
        name=name,
        kind=KINDS.get(category, "checkpoint"),
        everybody=visible == "public",
        webhook=read_webhook(form),
        track_id=form.scalar("track_id", limit=MOST_TRACK_ID),
        route=family.name,
        ignored=tuple(field for field in WITHOUT_EFFECT if form.has(field)),
    )


def _needed(about: str) -> Schema:
    return {"type": "string", "minLength": 1, "description": about}


_TAKEN: Schema = words.fields(
    words.KEY
    | {
        "url": _needed("Where the safetensors file is, or a diffusers folder's model_index.json, as http or https."),
        "model_id": _needed("By which name requests ask for it."),
        "model_category": words.string(
            "lora, controlnet, embeddings or vae for one of these; anything else is a checkpoint."
        ),
        "model_type": words.string("The same on the vendor's older pages."),
        "model_format": words.string("safetensors, or diffusers for a folder; others are refused."),
        "model_visibility": words.string("private, or public with an operator's key."),
        "webhook": words.string("Called with POST when it is installed, or cannot be."),
        "track_id": {
            "type": ["string", "number", "boolean", "null"],
            "description": "Comes back in the webhook's body.",
        },
    },
    "url",
    "model_id",
)
_SAID: Schema = words.fields(words.DONE | {"message": {"type": "string"}}, "status", "message")
_INSTALL = Operation(
    "Install a model from an address",
    Shape("InstallStarted", _SAID),
    {"status": "success", "message": "model load started", "id": 302455, "model_id": "my-model"},
    words.REFUSALS,
    Shape("Install", _TAKEN),
    {
        "key": "",
        "url": "https://models.example/my-model.safetensors",
        "model_id": "my-model",
        "model_format": "safetensors",
    },
)
_INSTALL_VAE = Operation(
    "Install an autoencoder from an address",
    Shape("VaeStarted", _SAID),
    {"status": "success", "message": "VAE load started", "id": 302456, "model_id": "my-vae"},
    words.REFUSALS,
    Shape(
        "InstallVae",
        words.fields(
            words.KEY
            | {
                "vae_url": _needed("Where the safetensors file is, as http or https."),
                "vae_id": _needed("By which name requests ask for it."),
            },
            "vae_url",
            "vae_id",
        ),
    ),
    {"key": "", "vae_url": "https://models.example/my-vae.safetensors", "vae_id": "my-vae"},
)
_DELETE = Operation(
    "Delete a model that one has installed",
    Shape("ModelDeleted", _SAID),
    {"status": "success", "message": "Model deleted on server"},
    words.REFUSALS,
    Shape("DeleteModel", words.fields(words.KEY | {"model_id": {"type": "string", "minLength": 1}}, "model_id")),
    {"key": "", "model_id": "my-model"},
)
ROWS = (
    Row("v3/load_model", families.V3, load_model, _INSTALL),
    Row("v3/upload_model", families.V3, load_model, _INSTALL),
    Row("v3/delete_model", families.V3, delete_model, _DELETE),
    Row("v1/enterprise/load_model", families.ENTERPRISE, load_model, _INSTALL),
    Row("v1/enterprise/load_model_v2", families.ENTERPRISE, load_model, _INSTALL),
    Row("v1/enterprise/load_vae", families.ENTERPRISE, load_vae, _INSTALL_VAE, BOTH),
    Row("v1/enterprise/delete_model", families.ENTERPRISE, delete_model, _DELETE),
)
