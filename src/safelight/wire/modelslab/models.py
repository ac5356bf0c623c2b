"""What there is to choose from: the vendor's model lists, old and new, and its questions about one checkpoint.

The old lists are of checkpoints; the new ones hold all kinds, are searched by words and come in pages.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from fastapi import Response

from safelight.errors import Invalid, NotFound
from safelight.records import JobState
from safelight.service.catalogue import Entry
from safelight.wire.http import answer
from safelight.wire.modelslab import agents_described, families
from safelight.wire.modelslab import describe as words
from safelight.wire.modelslab.call import Act, Call, Row
from safelight.wire.openapi import Operation, Refusals, Schema, Shape

READY = "model_ready"
STATUSES = {
    JobState.queued: "model_queued",
    JobState.running: "model_loading",
    JobState.succeeded: READY,
    JobState.failed: "model_failed",
    JobState.cancelled: "model_failed",
}
PROVIDER = "safelight"  # everything here is served by this server
FEATURE = "imagen"  # the vendor's word for pictures; others are of video, sound and text
MOST_WORDS = 200  # characters
MOST_PAGE = 100
CATEGORIES = {
    "checkpoint": "stable_diffusion",
    "lora": "lora",
    "controlnet": "controlnet",
    "embedding": "embeddings",
    "vae": "vae",
}
SORTS: dict[str, Callable[[Entry], object]] = {
    "recommended": lambda entry: (not entry.default, entry.name),
    "latest": lambda entry: -entry.added_at.timestamp() if entry.added_at else math.inf,
    "most-used": lambda entry: (not entry.default, entry.name),
    "asc": lambda entry: entry.name,
    "sort-asc": lambda entry: entry.name,
}
REVERSED = {"desc": "asc", "sort-desc": "asc"}


async def model_list(call: Call) -> Response:
    """A bare array, which the clients of the old pages iterate over."""
    return answer([_old(entry) for entry in await _checkpoints(call)])


async def finetune_list(_call: Call) -> Response:
    """Models that the caller trained here, of which there are none."""
    return answer({"status": "success", "messege": "model list", "data": []})


async def get_all_models(call: Call) -> Response:
    models = [
        {"model_id": entry.name, "load_data": f"{entry.added_at:%m/%d/%Y %H:%M:%S}" if entry.added_at else ""}
        for entry in await _ready(call)
    ]
    return answer({"status": "success", "models": models})


async def sync_models(call: Call) -> Response:
    """Every worker has them all already."""
    names = [entry.name for entry in await _ready(call)]
    said = f"{len(names)} Models synced successfully"
    return answer({"status": "success", "message": said, "model_list": names})


async def verify_model(call: Call) -> Response:
    await _check_named(call)
    return answer({"status": "success", "message": "Model exists on server"})


async def model_reload(call: Call) -> Response:
    """A checkpoint is loaded when it is needed, so one that is here is ready."""
    await _check_named(call)
    return answer({"status": "success", "message": "model reloaded", "messege": "model reloaded"})


async def search(call: Call) -> Response:
    found = await _found(call)
    page = call.form.whole("page", 1, 1, 10**6)
    size = call.form.whole("per_page", 20, 1, MOST_PAGE)
    shown = [_new(entry) for entry in found[(page - 1) * size : page * size]]
    counted = {
        "pagination": _pagination(found, page, size),
        "meta": {"total": len(found)},
    }  # the command line reads meta
    return answer({"status": "success", "data": shown} | counted)


async def detail(call: Call) -> Response:
    name = str(call.request.path_params["name"])
    entries = await call.services.catalogue.entries(call.account)
    entry = next((entry for entry in entries if entry.name == name), None)
    if entry is None:
        raise NotFound(f"Model not found: {name[:MOST_WORDS]}")
    return answer({"status": "success", "data": _new(entry)})


async def filters(_call: Call) -> Response:
    given = {"sorts": [*SORTS, *REVERSED], "model_types": [*CATEGORIES.values()], "features": [FEATURE]}
    return answer({"status": "success", "data": given})


async def tags(_call: Call) -> Response:
    return answer({"status": "success", "data": []})


async def providers(_call: Call) -> Response:
    return answer({"status": "success", "data": [PROVIDER]})


async def _checkpoints(call: Call) -> list[Entry]:
    return [entry for entry in await call.services.catalogue.entries(call.account) if entry.kind == "checkpoint"]


async def _ready(call: Call) -> list[Entry]:
    return [entry for entry in await _checkpoints(call) if entry.ready]


async def _check_named(call: Call) -> None:
    name = call.form.required("model_id", limit=MOST_WORDS)
    if name not in {entry.name for entry in await _ready(call)}:
        raise NotFound(f"Model not found: {name}")


async def _found(call: Call) -> list[Entry]:
    """Each word must stand in the name; what the other filters ask for is not here unless it is of pictures."""
    form = call.form
    wanted = form.text("search", limit=MOST_WORDS).lower().split()
    kind = form.text("model_type", limit=MOST_WORDS)
    feature, provider = form.text("feature", limit=MOST_WORDS), form.text("provider", limit=MOST_WORDS)
    if feature not in ("", FEATURE) or provider not in ("", PROVIDER) or form.has("tags"):
        return []
    entries = [
        entry
        for entry in await call.services.catalogue.entries(call.account)
        if all(word in entry.name.lower() for word in wanted) and kind in ("", CATEGORIES[entry.kind])
    ]
    return _sorted(entries, form.text("sort", limit=MOST_WORDS) or "recommended")


def _sorted(entries: list[Entry], sort: str) -> list[Entry]:
    if sort not in {*SORTS, *REVERSED}:
        raise Invalid("sort", f"must be one of {', '.join([*SORTS, *REVERSED])}")
    return sorted(entries, key=SORTS[REVERSED.get(sort, sort)], reverse=sort in REVERSED)  # type: ignore[arg-type]  # comparable within one sort


def _old(entry: Entry) -> dict[str, object]:
    return {
        "model_id": entry.name,
        "status": _status(entry),
        "created_at": entry.added_at,
        "instance_prompt": None,
        "model_name": entry.name,
        "description": _description(entry),
        "screenshots": "",
        "model_category": CATEGORIES[entry.kind],
    }


def _status(entry: Entry) -> str:
    """Of one that is not ready, how far its installation is."""
    if entry.installed is None:
        return READY
    return STATUSES[entry.installed.state]


def _description(entry: Entry) -> str:
    """Why it could not be installed, where it could not."""
    if entry.installed is not None:
        return entry.installed.error or ""
    return "The default checkpoint of this server." if entry.default else ""


def _new(entry: Entry) -> dict[str, object]:
    return _old(entry) | {
        "name": entry.name,
        "provider": PROVIDER,
        "feature": FEATURE,
        "model_type": CATEGORIES[entry.kind],
        "tags": [],
    }


def _pagination(found: Sequence[Entry], page: int, size: int) -> dict[str, int]:
    total = len(found)
    return {
        "current_page": page,
        "per_page": size,
        "total": total,
        "last_page": max(1, math.ceil(total / size)),
    }


_ENTRY: Schema = words.fields(
    {"model_id": {"type": "string"}, "status": {"enum": [*dict.fromkeys(STATUSES.values())]}}, "model_id", "status"
)
_EXAMPLE = {
    "model_id": "safelight-tiny",
    "status": READY,
    "created_at": None,
    "instance_prompt": None,
    "model_name": "safelight-tiny",
    "description": "The default checkpoint of this server.",
    "screenshots": "",
    "model_category": "stable_diffusion",
}
_SEARCHED: Schema = words.fields(
    words.DONE | {"data": {"type": "array", "items": _ENTRY}, "pagination": {"type": "object"}}, "status", "data"
)
_PAGE = {"current_page": 1, "per_page": 20, "total": 1, "last_page": 1}
_SAID: Schema = words.fields(words.DONE | {"message": {"type": "string"}}, "status", "message")
_NAMED = Shape("NamedModel", words.fields(words.KEY | {"model_id": {"type": "string", "minLength": 1}}, "model_id"))


def _about(summary: str, shape: Shape, example: object, takes: Shape = words.KEY_ONLY, **given: object) -> Operation:
    return Operation(summary, shape, example, words.REFUSALS, takes, {"key": "", **given})


_LIST = _about("The checkpoints", Shape("Models", {"type": "array", "items": _ENTRY}), [_EXAMPLE])
_TRAINED = _about(
    "Models trained here: none",
    Shape("Trained", words.fields(words.DONE | {"data": {"type": "array"}}, "status", "data")),
    {"status": "success", "messege": "model list", "data": []},
)
_ALL = _about(
    "The checkpoints of this server",
    Shape("AllModels", words.fields(words.DONE | {"models": {"type": "array"}}, "status", "models")),
    {"status": "success", "models": [{"model_id": "safelight-tiny", "load_data": "11/25/2026 12:00:00"}]},
)
_SYNC = _about(
    "The checkpoints' names", Shape("Synced", _SAID), {"status": "success", "message": "1 Models synced successfully"}
)
_VERIFY = _about(
    "Whether a checkpoint is here",
    Shape("Verified", _SAID),
    {"status": "success", "message": "Model exists on server"},
    _NAMED,
    model_id="safelight-tiny",
)
_RELOAD = _about(
    "Whether a checkpoint is ready",
    Shape("Reloaded", _SAID),
    {"status": "success", "message": "model reloaded"},
    _NAMED,
    model_id="safelight-tiny",
)
_QUERY = Shape(
    "ModelsQuery",
    words.fields(
        words.KEY
        | {
            "search": words.string("Words that the name has."),
            "model_type": words.string("stable_diffusion, lora, controlnet, embeddings or vae."),
            "feature": words.string("imagen; of others there are none here."),
            "sort": words.string(f"{', '.join(SORTS)}."),
            "page": words.whole("The page.", 1, 1, None),
            "per_page": words.whole("How many of them.", 20, 1, MOST_PAGE),
        }
    ),
)
_SEARCH = _about(
    "Checkpoints, LoRAs and ControlNets, by words and in pages (search, model_type, feature, sort, page, per_page)",
    Shape("FoundModels", _SEARCHED),
    {"status": "success", "data": [_EXAMPLE], "pagination": _PAGE},
    _QUERY,
)
_ONE = _about(
    "One checkpoint, LoRA or ControlNet",
    Shape("Model", words.fields(words.DONE | {"data": _ENTRY}, "status", "data")),
    {"status": "success", "data": _EXAMPLE},
)
_FILTERS = _about(
    "What a search may ask for",
    Shape("Filters", words.fields(words.DONE | {"data": {"type": "object"}}, "status", "data")),
    {"status": "success", "data": {"sorts": ["recommended"], "model_types": ["lora"], "features": [FEATURE]}},
)
_STRINGS = Shape(
    "Names", words.fields(words.DONE | {"data": {"type": "array", "items": {"type": "string"}}}, "status", "data")
)
_TAGS = _about("Tags: none are given here", _STRINGS, {"status": "success", "data": []})
_PROVIDERS = _about("Providers: this server", _STRINGS, {"status": "success", "data": [PROVIDER]})


_CATALOGUE: tuple[tuple[str, Act, Operation], ...] = (
    ("", search, _SEARCH),
    ("/filters", filters, _FILTERS),
    ("/tags", tags, _TAGS),
    ("/providers", providers, _PROVIDERS),
    ("/{name}", detail, _ONE),
)


def _catalogue(path: str, refusals: Refusals = words.REFUSALS) -> tuple[Row, ...]:
    """The newer catalogue, which stands under three addresses and refuses as others do that stand there."""
    return tuple(
        Row(f"{path}{end}", families.V6, act, replace(told, refusals=refusals), ("GET",))
        for end, act, told in _CATALOGUE
    )


ROWS = (
    Row("v3/dreambooth/model_list", families.V3_DREAMBOOTH, model_list, _LIST),
    Row("v4/dreambooth/model_list", families.V4_DREAMBOOTH, model_list, _LIST),
    Row("v3/finetune_list", families.V3, finetune_list, _TRAINED),
    Row("v4/dreambooth/model_reload", families.V4_DREAMBOOTH, model_reload, _RELOAD),
    Row("v6/images/model_reload", families.V6_IMAGES, model_reload, _RELOAD),
    Row("v1/enterprise/get_all_models", families.ENTERPRISE, get_all_models, _ALL),
    Row("v1/enterprise/verify_model", families.ENTERPRISE, verify_model, _VERIFY),
    Row("v1/enterprise/sync_models", families.ENTERPRISE, sync_models, _SYNC),
    *_catalogue("v7/models"),
    *_catalogue("v6/model-search"),
    *_catalogue("agents/v1/models", agents_described.REFUSALS),
)
