"""What an account has made: tiles without end, one job with all its settings, small pictures of large ones, and erasing many at once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from io import BytesIO
from urllib.parse import urlencode

from fastapi import Response
from PIL import Image

from safelight.errors import Invalid
from safelight.records import JobState, Task
from safelight.service.history import Filter
from safelight.wire.console.call import Call, is_fragment
from safelight.wire.console.cards import card_of
from safelight.wire.console.pages import HEADERS
from safelight.wire.forms import Form
from safelight.wire.http import path_id
from safelight.wire.jobs import read_filter

TILES = 30  # in one page of the list
MOST_TILES = 500  # erased at once
THUMB_SIDE = 384
FIELDS = ("search", "model", "task", "since", "until")


async def page(call: Call) -> Response:
    """The whole page, or for a page that has a part of the list already the next of it."""
    services, form = call.services, call.form
    before = form.whole("before", 0, 1, 2**63 - 1) or None
    found = await services.history.page(call.account, _filter(form), before=before, limit=TILES)
    asked = {name: form.text(name, limit=200) for name in FIELDS}
    values = {
        "cards": [card_of(services, job) for job in found.jobs if job.outputs],
        "more": _address(asked, found.next) if found.next else None,
        "beginning": before is None,
    }
    if is_fragment(call.request):
        return call.fragment("tiles.html", **values)
    entries = await services.catalogue.entries(call.account)
    checkpoints = [entry.name for entry in entries if entry.kind == "checkpoint" and entry.ready]
    return call.page("gallery.html", asked=asked, checkpoints=checkpoints, tasks=list(Task), **values)


async def details(call: Call) -> Response:
    job = await call.services.jobs.get(call.account, path_id(call.request))
    return call.page("details.html", card=card_of(call.services, job))


async def thumb(call: Call) -> Response:
    """Made anew each time: what is not kept need not be erased."""
    _, png = await call.services.assets.open(call.request.path_params["name"], call.account)
    return Response(await asyncio.to_thread(_shrunk, png), media_type="image/webp", headers=HEADERS)


async def erase(call: Call) -> Response:
    """All of them or none. The page hears which tiles are to go."""
    ids = _ids(call.form.required("ids", limit=MOST_TILES * 20))
    receipt = await call.services.erasure.delete(call.account, ids)
    answer = call.fragment("receipt.html", receipt=receipt)
    answer.headers["HX-Trigger"] = json.dumps({"erased": {"ids": ids}})
    return answer


def _filter(form: Form) -> Filter:
    """The last day is wanted whole."""
    wanted = read_filter(form)
    until = wanted.until + timedelta(days=1) if wanted.until else None
    return replace(wanted, states=(JobState.succeeded,), until=until)


def _address(asked: Mapping[str, str], before: int) -> str:
    said = {name: value for name, value in asked.items() if value}
    return "/console/gallery?" + urlencode(said | {"before": before})


def _ids(words: str) -> list[int]:
    found = [word.strip() for word in words.split(",") if word.strip()]
    if len(found) > MOST_TILES or not all(word.isascii() and word.isdecimal() and len(word) < 20 for word in found):
        raise Invalid("ids", f"must be at most {MOST_TILES} numbers, separated by commas")
    return [int(word) for word in found]


def _shrunk(png: bytes) -> bytes:
    """Of a picture that we made ourselves."""
    file = BytesIO()
    with Image.open(BytesIO(png), formats=("PNG",)) as picture:
        picture.thumbnail((THUMB_SIDE, THUMB_SIDE))
        picture.convert("RGB").save(file, "WEBP", quality=80, method=2)
    return file.getvalue()
