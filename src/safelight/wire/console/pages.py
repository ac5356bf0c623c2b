"""Templates to pages, and the headers that every page has. Knows no route and no service."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

from fastapi import Response
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

HERE = Path(__file__).parent
STATIC = {
    **{path.name: path for path in sorted((HERE / "static").iterdir())},
    "htmx.min.js": HERE / "vendor" / "htmx" / "htmx.min.js",
}
MEDIA_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_VERSIONS = {name: hashlib.sha256(path.read_bytes()).hexdigest()[:12] for name, path in STATIC.items()}


def static(name: str) -> str:
    """The address of a file of ours, another one whenever the file is another."""
    return f"/console/static/{name}?v={_VERSIONS[name]}"


def render(
    name: str, values: Mapping[str, object], status: int = 200, headers: Mapping[str, str] = MappingProxyType({})
) -> Response:
    return HTMLResponse(_TEMPLATES.get_template(name).render(values), status, {**HEADERS, **headers})


def ago(moment: datetime | None) -> str:
    """How long since, as one says it."""
    if moment is None:
        return "never"
    seconds = max(0.0, (datetime.now(UTC) - moment).total_seconds())
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if (count := int(seconds // length)) >= 1:
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"


def size(count: float) -> str:
    for unit in ("bytes", "KB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def strength_of(loras: Sequence[tuple[str, float]], name: str) -> str:
    return next((f"{strength:g}" for each, strength in loras if each == name), "")


def task_name(task: str) -> str:
    """As one says what a job is for."""
    return {
        "generate": "Made from words",
        "judge": "Checked",
        "upscale": "Enlarged",
        "cut_out": "Background removed",
        "caption": "Put into words",
        "install_model": "Models",
    }.get(task, task.replace("_", " ").capitalize())


_TEMPLATES = Environment(
    loader=FileSystemLoader(HERE / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.globals["static"] = static
_TEMPLATES.filters |= {"ago": ago, "size": size, "lora": strength_of, "task": task_name}
