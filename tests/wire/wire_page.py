"""docs/reference/wire.md, made from the tables themselves: `python -m tests.wire.wire_page` writes it, a test compares."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from safelight.wire.absence import Absence
from safelight.wire.modelslab.absent import ABSENT
from safelight.wire.modelslab.routes import TABLE
from safelight.wire.tensorslab import routes as tensorslab
from safelight.wire.tensorslab.write import NO_VIDEO, VIDEO

PAGE = Path(__file__).resolve().parents[2] / "docs/reference/wire.md"
HEAD = """# The wire, endpoint by endpoint

Made from the server's own tables by `python -m tests.wire.wire_page`; a test compares. What each endpoint takes and gives in
detail: [the HTTP API](http.md) and the server's own page at `/docs`.
"""


def render() -> str:
    return "\n".join([HEAD, *_here(), *_absent()])


def _here() -> list[str]:
    lines = ["## What is here", ""]
    by_family = defaultdict(list)
    for row in TABLE:
        by_family[row.family.name].append(row)
    for family, rows in by_family.items():
        lines += [f"### {family}", "", "| endpoint | methods | what it does |", "|---|---|---|"]
        lines += [
            f"| `{path}` | {', '.join(row.methods)} | {row.operation.summary} |" for row in rows for path in row.paths
        ]
        lines.append("")
    lines += ["### TensorsLab", "", "| endpoint | methods | what it does |", "|---|---|---|"]
    lines += [f"| `{path}` | POST | {operation.summary} |" for path, (_, operation) in tensorslab.TABLE.items()]
    return [*lines, ""]


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
