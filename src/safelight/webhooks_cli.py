"""`safelight webhooks`: what an operator sees of webhooks, those that were given up above all, and sending them again."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.table import Table

from safelight import commands
from safelight.errors import SetupFailed
from safelight.service.outbox import PostedState
from safelight.settings import read_settings
from safelight.terminal import AsJson, DatabaseUrl, DataDir, call, out

Owner = Annotated[str | None, typer.Option("--account", help="Only this account's. Default: everybody's.")]

webhooks = typer.Typer(no_args_is_help=True, help="Webhooks that were asked for, and sending them again.")


@webhooks.command("list")
def webhooks_list(
    account: Owner = None,
    state: Annotated[PostedState, typer.Option(help="dead: given up.")] = PostedState.dead,
    limit: Annotated[int, typer.Option(min=1, help="Most that are shown.")] = 100,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Webhooks that were given up, or that stand otherwise, of the newest job first."""
    settings = read_settings(data_dir=data_dir, database_url=database_url)
    found = call(commands.posted(settings, account, state, limit))
    if as_json:
        print(json.dumps([{"id": str(each.id), "account": each.account, "job_id": each.job_id} for each in found]))
        return
    table = Table("id", "account", "job", "attempts", "last answer", "asked for")
    for each in found:
        answer, asked = str(each.status or "none"), f"{each.created_at:%Y-%m-%d %H:%M}"
        table.add_row(str(each.id), each.account, str(each.job_id), str(each.attempt), answer, asked)
    out.print(table)


@webhooks.command("replay")
def webhooks_replay(
    ids: Annotated[list[str] | None, typer.Argument(help="Ids, as `webhooks list` shows them.")] = None,
    dead: Annotated[bool, typer.Option("--dead", help="All that were given up.")] = False,
    account: Owner = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Send webhooks again, by the server that runs or by the next one, at once and with all their attempts."""
    if bool(ids) == dead:
        raise SetupFailed("Say which: ids, or --dead for all that were given up.")
    settings = read_settings(data_dir=data_dir, database_url=database_url)
    out.print(f"{call(commands.replay(settings, account, ids))} webhooks are owed anew.")
