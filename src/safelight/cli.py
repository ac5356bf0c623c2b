"""The command ``safelight``: parses, calls, prints. Everything it does is in ``app``; torch is loaded only by the commands that need it."""

from __future__ import annotations

import asyncio
import json
import sys
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from safelight import accounts_cli, commands, edit_cli, logs, models_cli, webhooks_cli, working
from safelight import doctor as examination
from safelight.door import Opening
from safelight.errors import SafelightError
from safelight.records import Key
from safelight.settings import read_settings
from safelight.terminal import AsJson, BlobUrl, DatabaseUrl, DataDir, Model, call, err, out, progress_bar

cli = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="A self-hosted image-generation API that forgets on request.",
)
keys = typer.Typer(no_args_is_help=True, help="Make, list and revoke API keys.")
cli.add_typer(keys, name="keys")
cli.add_typer(accounts_cli.accounts, name="accounts")
cli.add_typer(models_cli.models, name="models")
cli.add_typer(edit_cli.edit, name="edit")
cli.add_typer(webhooks_cli.webhooks, name="webhooks")


@cli.command()
def serve(
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    blob_url: BlobUrl = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on; anything but loopback needs a key.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.")] = None,
    public_url: Annotated[str | None, typer.Option(help="How clients reach this server.")] = None,
    model: Model = None,
    workers: Annotated[int | None, typer.Option(help="Worker processes to start; 0 leaves the work to others.")] = None,
    console: Annotated[bool, typer.Option(help="The pages in the browser, at /console.")] = True,
    as_json: AsJson = False,
) -> None:
    """Serve the API, with an embedded database and a worker unless told otherwise."""
    settings = read_settings(
        data_dir=data_dir, database_url=database_url, blob_url=blob_url, host=host, port=port,
        public_url=public_url, model=model, workers=workers,
    )  # fmt: skip
    if not console:
        settings = settings.model_copy(update={"dialects": settings.dialects - {"console"}})
    logs.set_up(settings.log_level)
    from uvicorn.loops.auto import auto_loop_factory

    from safelight import app  # with the web framework, which no other command waits for

    with asyncio.Runner(loop_factory=auto_loop_factory()) as runner:
        runner.run(app.serve(settings, lambda opening: _announce(opening, as_json)))


def _announce(opening: Opening, as_json: bool) -> None:
    if as_json:
        print(json.dumps(asdict(opening)), flush=True)
        return
    url, key = opening.url, opening.key
    out.print(f"Safelight is at [bold]{url}[/] (API page: {url}/docs). Ctrl-C stops it.", soft_wrap=True)
    if opening.console:
        said = "The console, signed in (once, within a quarter of an hour):"
        out.print(f"{said} [bold]{opening.console}[/]", soft_wrap=True)
    if key:
        curl = f"""curl -s {url}/api/v3/text2img -H 'Content-Type: application/json' -d '{{"key": "{key}", "prompt": "a red apple"}}'"""
        out.print(f"\nYour key, shown only this once: [bold]{key}[/]\nTry it:\n  {curl}\n", soft_wrap=True)
    sys.stdout.flush()


@cli.command()
def worker(
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    blob_url: BlobUrl = None,
    model: Model = None,
    queues: Annotated[
        str | None, typer.Option(help="What to work on, separated by commas. Default: everything.")
    ] = None,
    tethered: Annotated[bool, typer.Option("--tethered", hidden=True)] = False,
) -> None:
    """Run a further worker against the database and the blob store of a server."""
    settings = read_settings(data_dir=data_dir, database_url=database_url, blob_url=blob_url, model=model)
    logs.set_up(settings.log_level)
    wanted = None if queues is None else [name.strip() for name in queues.split(",")]
    asyncio.run(working.work(settings, wanted) if tethered else working.supervise(settings, wanted))


@cli.command()
def imagine(
    picture: Annotated[Path, typer.Argument(help="The picture to start from (PNG, JPEG or WebP).")],
    prompt: Annotated[str, typer.Argument(help="What it should become.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Where the result goes.")] = Path("imagined.png"),
    negative_prompt: str = "",
    strength: Annotated[
        float, typer.Option(min=0.01, max=1.0, help="1 forgets the picture, 0.1 hardly changes it.")
    ] = 0.7,
    steps: Annotated[int, typer.Option(min=1, max=1000)] = 30,
    guidance_scale: Annotated[
        float | None, typer.Option(min=1, max=20, help="Default: as the checkpoint's card says, or 7.5.")
    ] = None,
    width: Annotated[int, typer.Option(min=64)] = 512,
    height: Annotated[int, typer.Option(min=64)] = 512,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1)] = 0,
    sampler: Annotated[str | None, typer.Option(help="A scheduler's name, such as EulerAncestralDiscrete.")] = None,
    model: Model = None,
) -> None:
    """Make one picture from another with the engine alone, without a server."""
    from safelight import handwork

    settings = read_settings(model=model)
    wanted = {
        "prompt": prompt, "negative_prompt": negative_prompt, "strength": strength, "steps": steps,
        "guidance_scale": guidance_scale or handwork.wants(settings).guidance_scale,
        "width": width, "height": height, "seed": seed, "sampler": sampler,
    }  # fmt: skip
    with progress_bar() as progress:
        task = progress.add_task("loading the model", total=None)
        seconds = handwork.imagine(
            settings, picture, output, wanted,
            lambda step, of: progress.update(task, description="denoising", completed=step, total=of),
        )  # fmt: skip
    out.print(f"{output}  ({seconds:.1f} s on the engine, seed {seed})", soft_wrap=True)


@keys.command("create")
def keys_create(
    account: Annotated[str, typer.Argument(help="The account's name; it is made if it is new.")],
    label: str = "",
    operator: Annotated[bool, typer.Option("--operator", help="Let it look after the server too.")] = False,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Make a key. Its secret is shown only now."""
    settings = read_settings(data_dir=data_dir, database_url=database_url)
    key, secret = call(commands.create_key(settings, account, label, operator=operator))
    if as_json:
        print(json.dumps({**_plain(key), "key": secret}))
    else:
        out.print(f"Key of account {key.account_name}, shown only this once: [bold]{secret}[/]", soft_wrap=True)


@keys.command("list")
def keys_list(data_dir: DataDir = None, database_url: DatabaseUrl = None, as_json: AsJson = False) -> None:
    """Every key, without its secret."""
    found = call(commands.list_keys(read_settings(data_dir=data_dir, database_url=database_url)))
    if as_json:
        print(json.dumps([_plain(key) for key in found]))
        return
    table = Table("id", "account", "label", "begins with", "operator", "made", "last used", "revoked")
    for key in found:
        moments = (key.created_at, key.last_used_at, key.revoked_at)
        table.add_row(
            str(key.id),
            key.account_name,
            key.label,
            key.prefix,
            "yes" if key.operator else "",
            *(f"{at:%Y-%m-%d %H:%M}" if at else "" for at in moments),
        )
    out.print(table)


@keys.command("revoke")
def keys_revoke(
    key: Annotated[str, typer.Argument(help="The key's id or its beginning, as `keys list` shows them.")],
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Revoke a key, at once and for good."""
    revoked = call(commands.revoke_key(read_settings(data_dir=data_dir, database_url=database_url), key))
    out.print(f"Revoked {revoked.prefix} of account {revoked.account_name}.")


@keys.command("webhook-secret")
def keys_webhook_secret(
    account: Annotated[str, typer.Argument(help="The account's name.")],
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """What the receivers of an account's webhooks verify signatures with."""
    print(call(commands.webhook_secret(read_settings(data_dir=data_dir, database_url=database_url), account)))


@keys.command("rotate-master")
def keys_rotate_master(data_dir: DataDir = None, database_url: DatabaseUrl = None) -> None:
    """Wrap all keys of requests under a new master key. Servers may run meanwhile; begin again if it is broken off."""
    settings = read_settings(data_dir=data_dir, database_url=database_url)
    with progress_bar() as progress:
        task = progress.add_task("wrapping keys", total=None)
        done = call(commands.rotate_master(settings, lambda now, of: progress.update(task, completed=now, total=of)))
    out.print(f"{done} keys are wrapped under the new master key.")


def _plain(key: Key) -> dict[str, Any]:
    fields = ("id", "account_name", "label", "prefix", "created_at", "last_used_at", "revoked_at")
    return {name: value.isoformat() if hasattr(value := getattr(key, name), "isoformat") else value for name in fields}


cli.command()(accounts_cli.erase)


@cli.command()
def doctor(
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    blob_url: BlobUrl = None,
    model: Model = None,
    deep: Annotated[bool, typer.Option("--deep", help="Read all that is kept, too: rows, files and counts.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Leave out what takes long: loading the model.")] = False,
    as_json: AsJson = False,
) -> None:
    """Look at everything the server stands on; each line says ok or what to do."""
    settings = read_settings(data_dir=data_dir, database_url=database_url, blob_url=blob_url, model=model)
    if as_json:
        logs.set_up("error")
        print(json.dumps([asdict(finding) for finding in examination.examine(settings, deep=deep, quick=quick)]))
        return
    well = True
    for finding in examination.examine(settings, deep=deep, quick=quick):
        well &= finding.ok
        mark = "[green]ok[/]  " if finding.ok else "[red]look[/]"
        out.print(f"{mark}  {finding.part:<12} {finding.text}", soft_wrap=True)
    raise typer.Exit(0 if well else 1)


def main() -> None:
    """Runs the command line; an error is one sentence and exit status 1."""
    try:
        cli()
    except SafelightError as error:
        said = error.message
    except Exception as error:  # noqa: BLE001  # the border of the command line; a foreign message may quote a key
        frame = traceback.extract_tb(error.__traceback__)[-1]
        said = f"Unexpected {type(error).__name__} at {frame.filename}:{frame.lineno}. Please report it."
    err.print(f"[red]safelight:[/] {escape(said)}", soft_wrap=True)
    sys.exit(1)
