"""docs/reference/wire.md, made from the tables themselves: `python -m tests.wire.wire_page` writes it, a test compares."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from safelight.wire.absence import Absence
from safelight.wire.modelslab import images
from safelight.wire.modelslab.absent import ABSENT
from safelight.wire.modelslab.routes import TABLE
from safelight.wire.openapi import Operation
from safelight.wire.tensorslab import routes as tensorslab
from safelight.wire.tensorslab.write import NO_VIDEO, VIDEO

PAGE = Path(__file__).resolve().parents[2] / "docs/reference/wire.md"
HEAD = """# The wire, endpoint by endpoint

Made from the server's own tables by `python -m tests.wire.wire_page`; a test compares. What each endpoint takes and gives in
detail: [the HTTP API](http.md) and the server's own page at `/docs`. Each takes `key` too, where it is not in a header.
"""
PICTURE = "[a picture's fields](http.md#generating)"
DIFFERENCES = """## Where answers differ from the pages in values

Names, types and fixed words are compared [example by example](vendor-examples.md). What such a comparison does not see:

| here | on the pages | because |
|---|---|---|
| `meta.revision` is `main` | `fp16` | no half of the files is chosen here |
| `meta.model`, `model_id`, `vae` name what was used | what was asked for | `X-Safelight-Notes` tells both names |
| `meta.negative_prompt` is what was sent | a long list of the vendor's where nothing was sent | a picture is made of its caller's words |
| `meta.steps` is what strength left of them | as sent, or cut to 20 | it says what was run |
| `meta.tomesd`, `multi_lingual`, `self_attention` are `no` | what was sent | they have no effect, and `X-Safelight-Ignored` names them |
| `meta.safety_checker_type` is `black` where none was sent | `sensitive_content_text` (v4, v6) | v3 and realtime print black |
| `prompt is required` | `The prompt field is required.` (realtime, 2025), an object (2023) | the newest pages print it so |
| `Invalid API key` with status 401 | `Invalid Api Key` with 200 (2023) | likewise; `SAFELIGHT_ERRORS_OK` answers 200 |
| `Model id not found` (where the setting refuses) | `Model not found: ...` (2026) | clients compare the older one |
| a sentence for each cause where a picture cannot be fetched | `Unable to fetch image from provided URL` | it can be mended then |
| `tip` says how to be faster here | an advertisement | |
| sides from 64 pixels on | from 256 on | small pictures are cheap here |
| `fetch` without a key: 401 | 200, as one page polls | [numbers can be guessed](../why.md#a-poll-needs-the-key) |
| `messege` is a string | a map, for one client | [the pages print a string](../why.md#messege-is-a-string) |
| delete of what is not there: 400 | nothing is said | it is an error of the call's |
| a list of earlier TensorsLab tasks has no path | "history records", without a path | `/v1/jobs` lists them |
"""


def render() -> str:
    return "\n".join([HEAD, *_here(), *_absent(), DIFFERENCES])


def _here() -> list[str]:
    lines = ["## What is here", ""]
    by_family = defaultdict(list)
    for row in TABLE:
        by_family[row.family.name].append(row)
    for family, rows in by_family.items():
        lines += _table(family, [(path, row.methods, row.operation) for row in rows for path in row.paths])
    return lines + _table("TensorsLab", [(path, ("POST",), told) for path, (_, told) in tensorslab.TABLE.items()])


def _table(family: str, rows: Sequence[tuple[str, Sequence[str], Operation]]) -> list[str]:
    head = [f"### {family}", "", "| endpoint | methods | takes | what it does |", "|---|---|---|---|"]
    lines = [f"| `{path}` | {', '.join(methods)} | {_takes(told)} | {told.summary} |" for path, methods, told in rows]
    return [*head, *lines, ""]


def _takes(operation: Operation) -> str:
    """The names of its fields; those of every picture are told elsewhere."""
    names = _fields(operation) - {"key"}
    shared = _fields(images.TEXT2IMG_OPERATION)
    own = [f"`{name}`" for name in sorted(names - shared)] if shared - {"key"} <= names else None
    return ", ".join([PICTURE, *own] if own is not None else [f"`{name}`" for name in sorted(names)])


def _fields(operation: Operation) -> set[str]:
    properties = operation.takes.schema["properties"] if operation.takes else {}
    assert isinstance(properties, dict)
    return set(properties)


def _absent() -> list[str]:
    lines = [
        "## What answers 501, and the sentence it answers",
        "",
        "| missing | endpoints | sentence |",
        "|---|---|---|",
    ]
    by_absence: dict[Absence, list[str]] = defaultdict(list)
    for path, absence in ABSENT.items():
        by_absence[absence].append(f"`/api/{path}`")
    for absence, paths in by_absence.items():
        lines.append(f"| {absence.name} | {', '.join(paths)} | {absence.sentence} |")
    videos = ", ".join(f"`{path}`" for path in sorted(NO_VIDEO))
    return [*lines, f"| {VIDEO.name} (TensorsLab) | {videos} | {VIDEO.sentence} |", ""]


if __name__ == "__main__":
    PAGE.write_text(render())
