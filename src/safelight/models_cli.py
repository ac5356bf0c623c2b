"""The commands `safelight models ...`: the checkpoints on the shelf, and what stands for them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from safelight import commands
from safelight.checkpoints import list_models, wants_of
from safelight.errors import SetupFailed
from safelight.settings import read_settings
from safelight.terminal import AsJson, DatabaseUrl, DataDir, Model, call, out

models = typer.Typer(no_args_is_help=True, help="The checkpoints on the shelf.")


@models.command("alias")
def models_alias(
    pattern: Annotated[str | None, typer.Argument(help="A name that apps send, or a pattern: 'flux*'.")] = None,
    model: Annotated[str | None, typer.Argument(help="The checkpoint it stands for, or: default.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Forget the pattern.")] = False,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Let a name that apps send stand for a checkpoint; without arguments, list those that do."""
    settings = read_settings(data_dir=data_dir, database_url=database_url)
    if pattern and (model or remove):
        call(commands.set_alias(settings, pattern, None if remove else model))
    table = Table("pattern", "stands for")
    for row in call(commands.list_aliases(settings)):
        table.add_row(*row)
    out.print(table)


@models.command("list")
def models_list(
    model: Model = None, data_dir: DataDir = None, database_url: DatabaseUrl = None, as_json: AsJson = False
) -> None:
    """The checkpoints a request may name in `model_id`, and the ControlNets that may steer them."""
    settings = read_settings(model=model, data_dir=data_dir, database_url=database_url)
    found = list_models(settings, call(commands.added_checkpoints(settings)))
    if as_json:
        print(json.dumps(found))
        return
    table = Table("name", "default", "kind", "size", "path")
    for row in found:
        table.add_row(
            row["name"], "yes" if row["default"] else "", row["kind"], f"{row['bytes'] / 2**20:.0f} MiB", row["path"]
        )
    out.print(table)


@models.command("check")
def models_check(path: Path, as_json: AsJson = False) -> None:
    """Say what a checkpoint is, what it can do and what it lacks, from its headers alone; 1 if it lacks anything."""
    from safelight.engine.inspection import inspect

    if not path.exists():
        raise SetupFailed(f"Nothing is at {path}.")
    found, wants = inspect(path, read_settings().components), wants_of(path.stem, path)
    if as_json:
        print(json.dumps(asdict(wants) | asdict(found) | {"weights": found.weights, "whole": found.whole}))
    else:
        several = f", with one to {found.pictures} pictures" if found.pictures > 1 else ""
        out.print(f"{found.family}: {', '.join(found.tasks)}{several}")
        for part in found.parts:
            out.print(
                f"  {part.name:<16} {part.weights / 1e6:>9.1f} M  {escape(part.lacks) or 'whole'}", soft_wrap=True
            )
        gib = found.weights / 2**30
        out.print(f"In memory: {4 * gib:.1f} GiB in float32 (CPU), {2 * gib:.1f} GiB in bfloat16 (CUDA).")
        shares = ", ".join(f"{name} {2 * count / 2**30:.1f}" for name, count in found.apart.items())
        out.print(f"Of the latter: {shares} GiB.")
        if found.row:
            out.print(f"A row of 512 by 512 pixels in float32: {found.row / 2**20:.0f} MiB beside the weights.")
        for line in as_set(path) if found.whole else ():
            out.print(line, soft_wrap=True)
    raise typer.Exit(0 if found.whole else 1)


def as_set(path: Path) -> Iterator[str]:
    """What the checkpoint takes by the settings, where these are not the usual ones."""
    from safelight.engine.checkpoint import count_weights
    from safelight.engine.memory import EncoderPlace
    from safelight.engine.quantised import Bits

    settings = read_settings()
    place, bits = EncoderPlace(settings.encoders), Bits(settings.weights)
    if (place, bits) != (EncoderPlace.device, Bits.native):
        counted = count_weights(path, settings.components)
        on_cpu = counted.footprint(4, EncoderPlace.device if place == EncoderPlace.cpu else place, bits)
        on_cuda = counted.footprint(2, place, bits)
        stay = f"{on_cpu.stays / 2**30:.1f} GiB (CPU) or {on_cuda.stays / 2**30:.1f} GiB (CUDA) stay"
        more = f", {on_cuda.passes / 2**30:.1f} more while prompts are read" if on_cuda.passes else ""
        yield f"With encoders={place}, weights={bits}: {stay}{more}."


@models.command("add")
def models_add(
    name: Annotated[str, typer.Argument(help="What requests call it.")],
    path: Annotated[
        Path, typer.Argument(help="A diffusers folder, a .safetensors or a .gguf file, as the workers see it.")
    ],
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Put a checkpoint on the shelf of a running server, once it was looked at."""
    call(commands.add_checkpoint(read_settings(data_dir=data_dir, database_url=database_url), name, path))
    out.print(f"Requests may name {name} from now on.", soft_wrap=True)


@models.command("remove")
def models_remove(
    name: Annotated[str, typer.Argument(help="As it was added.")],
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Take a checkpoint that was added off the shelf. Its file stays where it is."""
    call(commands.remove_checkpoint(read_settings(data_dir=data_dir, database_url=database_url), name))
    out.print(f"{name} is off the shelf.", soft_wrap=True)
