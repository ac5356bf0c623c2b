"""What the commands have in common at a terminal: options, where they print, the bar, and how they call what takes time."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from safelight import logs

T = TypeVar("T")
out, err = Console(highlight=False), Console(stderr=True, highlight=False)

DataDir = Annotated[Path | None, typer.Option(help="Where the embedded database and local files live.")]
DatabaseUrl = Annotated[str | None, typer.Option(help="A PostgreSQL to use instead of the embedded one.")]
BlobUrl = Annotated[str | None, typer.Option(help="Where pictures rest: file://, s3://, gs:// or az://.")]
Model = Annotated[str | None, typer.Option(help="The default checkpoint: a path, or a name from SAFELIGHT_MODELS.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of prose.")]


def progress_bar() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=err, transient=True, disable=not err.is_terminal)


def call(work: Coroutine[Any, Any, T]) -> T:
    logs.set_up("warning")
    return asyncio.run(work)
