"""`safelight accounts` and `safelight erase`: what an operator does with accounts and what they keep."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

import typer
from rich.table import Table

from safelight import commands
from safelight.errors import SetupFailed
from safelight.service.batches import Kind, Wanted
from safelight.service.ledger import MILLION, AccountRow, Wallet
from safelight.service.retention import DAY, Limit
from safelight.settings import read_settings
from safelight.terminal import AsJson, BlobUrl, DatabaseUrl, DataDir, call, out, progress_bar

MOST_JOBS, MOST_BYTES = 1_000_000, 10**15
Store = Literal["all", "none"]

accounts = typer.Typer(
    no_args_is_help=True, help="Accounts: their limits, their wallets and plans where billing is on, and their end."
)


@accounts.command("list")
def accounts_list(data_dir: DataDir = None, database_url: DatabaseUrl = None, as_json: AsJson = False) -> None:
    """Every account: its plan, what its wallet holds and its unfinished jobs hold of it, what it keeps, and limits of its own."""
    settings = read_settings(data_dir=data_dir, database_url=database_url)
    found = call(commands.list_accounts(settings))
    if as_json:
        print(
            json.dumps([{"account": row.name, "plan": row.plan, **_money(row.wallet), **_space(row)} for row in found])
        )
        return
    table = Table(
        "account", "plan", f"wallet ({settings.currency})", "held", "bytes kept", "jobs at most", "bytes at most"
    )
    for row in found:
        kept = ("" if each is None else f"{each:,}" for each in _space(row).values())
        table.add_row(row.name, row.plan, *_money(row.wallet).values(), *kept)
    out.print(table)


@accounts.command("credit", context_settings={"ignore_unknown_options": True})
def accounts_credit(
    account: Annotated[str, typer.Argument(help="The account's name.")],
    amount: Annotated[str, typer.Argument(help="Such as 25 or 12.50; with a minus it is taken out again.")],
    note: Annotated[str, typer.Option(help="Kept with the entry: a receipt's number, say.")] = "",
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Put money that you have received into an account's wallet."""
    settings = read_settings(data_dir=data_dir, database_url=database_url)
    wallet = call(commands.credit_account(settings, account, amount, note))
    out.print(f"The wallet of {account} holds {_money(wallet)['available']} {settings.currency}.", soft_wrap=True)


@accounts.command("plan")
def accounts_plan(
    account: Annotated[str, typer.Argument(help="The account's name.")],
    plan: Annotated[str, typer.Argument(help="A plan's name from SAFELIGHT_PLANS; pay_as_you_go takes it away.")],
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Give an account a plan, until you give it another."""
    call(commands.give_plan(read_settings(data_dir=data_dir, database_url=database_url), account, plan))
    out.print(f"Account {account} has plan {plan}.")


@accounts.command("limit")
def accounts_limit(
    account: Annotated[str, typer.Argument(help="The account's name.")],
    jobs: Annotated[int | None, typer.Option(min=0, max=MOST_JOBS, help="Most jobs waiting or running.")] = None,
    space: Annotated[int | None, typer.Option("--bytes", min=0, max=MOST_BYTES, help="Most bytes kept.")] = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Say what an account may have, other than all others; 0 takes a limit away again. Without options, show them."""
    settings = read_settings(data_dir=data_dir, database_url=database_url)
    now = call(commands.limit_account(settings, account, jobs, space))
    said = f"{now.jobs or 'as many as others'} jobs at a time, {now.bytes or 'as many as others'} bytes kept"
    out.print(f"Account {account}: {said}.", soft_wrap=True)


@accounts.command("retention")
def accounts_retention(
    account: Annotated[str, typer.Argument(help="The account's name.")],
    days: Annotated[
        float | None, typer.Option(help="Erase what it made and sent so many days later: 7, or 0.5.")
    ] = None,
    key: Annotated[int, typer.Option(help="Only what is asked for by the key with this id.")] = 0,
    lift: Annotated[bool, typer.Option("--lift", help="Take your limit away. What it gave an end keeps that.")] = False,
    store: Annotated[
        Store | None, typer.Option(help="none: store nothing of what it asks for; all: store it again.")
    ] = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Show how long an account's things are kept, or limit it. The account may set limits of its own; the shortest counts."""
    if lift and days is not None:
        raise SetupFailed("Give either --days or --lift.")
    settings = read_settings(data_dir=data_dir, database_url=database_url)
    if lift or days is not None:
        call(commands.limit_retention(settings, account, None if days is None else days * DAY, key))
    if store is not None:
        call(commands.store(settings, account, store == "all", key))
    limits = call(commands.retention(settings, account))
    if as_json:
        told = [{"seconds": each.seconds, "key_id": each.key_id, "set_by": each.set_by} for each in limits]
        print(json.dumps(told))
        return
    table = Table("kept for", "of", "set by")
    for each in limits:
        table.add_row(f"{each.seconds / DAY:g} days", _whose(each), each.set_by)
    out.print(table if limits else f"Nothing limits how long what {account} made and sent is kept.")


def _whose(limit: Limit) -> str:
    return "everything" if limit.key_id is None else f"key {limit.key_id} {limit.key_prefix}"


def _money(wallet: Wallet) -> dict[str, str]:
    return {name: f"{getattr(wallet, name) / MILLION:.6f}" for name in ("available", "held")}


def _space(row: AccountRow) -> dict[str, int | None]:
    return {"kept": row.kept, "most_jobs": row.limits.jobs, "most_bytes": row.limits.bytes}


@accounts.command("erase")
def accounts_erase(
    account: Annotated[str, typer.Argument(help="The account's name.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    blob_url: BlobUrl = None,
) -> None:
    """Erase everything that an account has, and last the account itself. Its receipts and books stay, without its name."""
    settings = read_settings(data_dir=data_dir, database_url=database_url, blob_url=blob_url)
    if not yes:
        typer.confirm(f"Erase account {account} and everything that it has, for good?", abort=True)
    with progress_bar() as progress:
        task = progress.add_task("erasing", total=None)
        call(commands.erase_account(settings, account, lambda now, of: progress.update(task, completed=now, total=of)))
    out.print(f"Account {account} is erased.")


def erase(
    account: Annotated[str, typer.Argument(help="The account's name.")],
    ids: Annotated[
        list[int] | None, typer.Option("--id", help="This generation or upload; may be given again.")
    ] = None,
    older_than: Annotated[float | None, typer.Option(min=0, help="Only what was made more days ago.")] = None,
    kind: Annotated[Kind | None, typer.Option(help="Only generations, or only uploads.")] = None,
    track_id: Annotated[str | None, typer.Option(help="Only generations that were asked for with it.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All that the account has.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be erased, and erase nothing.")] = False,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    blob_url: BlobUrl = None,
) -> None:
    """Erase what an account has made and sent: by ids, or all of which every option given is true."""
    settings = read_settings(data_dir=data_dir, database_url=database_url, blob_url=blob_url)
    until = None if older_than is None else datetime.now(UTC) - timedelta(days=older_than)
    wanted, given = Wanted(until, kind, track_id), any((older_than is not None, kind, track_id is not None))
    if (bool(ids), given, everything).count(True) != 1:
        raise SetupFailed("Say what to erase: --id, or one or more of --older-than, --kind and --track-id, or --all.")
    if dry_run:
        weight = call(commands.weigh(settings, account, ids or [], wanted))
        out.print(f"Would erase {weight.requests} requests with {weight.assets} files, {weight.bytes / 2**20:.1f} MiB.")
        return
    with progress_bar() as progress:
        task = progress.add_task("erasing", total=None)
        receipt = call(
            commands.erase(
                settings, account, ids or [], wanted, lambda now, of: progress.update(task, completed=now, total=of)
            )
        )
    said = f"Erased {len(receipt.request_ids)} requests with {receipt.assets} files. Receipt: {receipt.id}"
    out.print(said, soft_wrap=True)
