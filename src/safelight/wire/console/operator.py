"""The whole server as its operator sees it: what it does now, what it did lately, who waits, what went wrong, and what to do about it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import urlencode

from fastapi import Response

from safelight.errors import Forbidden, Invalid
from safelight.service.additions import MOST_PATH, name_of
from safelight.service.overview import Done
from safelight.wire.console.call import Call
from safelight.wire.console.pages import size
from safelight.wire.console.plots import Plot, plot

HOURS = 24
ACCOUNTS = 50  # at a time
MOST_NAME = 200
MOST_JOBS, MOST_GIGABYTES, GIGABYTE = 1_000_000, 1_000_000, 10**9

Act = Callable[[Call], Awaitable[Response]]


def for_operators(act: Act) -> Act:
    async def checked(call: Call) -> Response:
        if not call.account.operator:
            raise Forbidden("This needs the key of an operator.")
        return await act(call)

    return checked


async def page(call: Call) -> Response:
    services = call.services
    return call.page(
        "operator.html",
        plots=_hours(await services.overview.done("hour", HOURS)),
        failures=await services.overview.failures(),
        shelved=await _shelf(call),
        **await _accounts(call),
        **await _now(call),
    )


async def accounts(call: Call) -> Response:
    """Those with the asked words in their name, and the next of them."""
    return call.fragment("accounts.html", **await _accounts(call))


async def now(call: Call) -> Response:
    """What changes while one looks."""
    return call.fragment("now.html", **await _now(call))


async def examine(call: Call) -> Response:
    return call.fragment("findings.html", findings=await call.services.examination.run())


async def make_key(call: Call) -> Response:
    """Of the named account, which is made where it is new."""
    name = call.form.text("account", limit=MOST_NAME).strip()
    if not name:
        raise Invalid("account", "is required")
    _, secret = await call.services.accounts.create_key(name, "by the operator")
    return call.fragment("secret.html", secret=secret, said=f"The new key of {name}, shown only now:")


async def limit_account(call: Call) -> Response:
    """What was sent changes; what is empty is as for everybody again."""
    name = call.form.required("account", limit=MOST_NAME)
    jobs = call.form.whole("jobs", 0, 0, MOST_JOBS) if "jobs" in call.form.fields else None
    space = (
        round(call.form.real("gigabytes", 0, 0, MOST_GIGABYTES) * GIGABYTE) if "gigabytes" in call.form.fields else None
    )
    now = await call.services.accounts.limit(name, jobs, space)
    queue = f"{now.jobs} jobs at a time" if now.jobs else "as many jobs as others"
    kept = f"{size(now.bytes)} of pictures and uploads" if now.bytes else "as much as others"
    return call.fragment("said.html", said=f"{name} may have {queue}, and keep {kept}.")


async def add_checkpoint(call: Call) -> Response:
    """It is looked at first, which takes some seconds."""
    name, path = (call.form.required(field, limit=MOST_PATH).strip() for field in ("name", "path"))
    await call.services.additions.add(name, Path(path))
    return call.fragment("shelf.html", said=f"{name} is being loaded by the workers.", **await _shelf(call))


async def remove_checkpoint(call: Call) -> Response:
    """The named one, by whichever way it came here."""
    name = call.form.required("name", limit=MOST_NAME)
    if call.form.yes("installed", False):
        receipt = await call.services.models.delete(call.account, name)
        said = f"{name} is erased. Receipt {receipt.id}."
    else:
        await call.services.additions.remove(name)
        said = f"{name} is off the shelf; its file stays."
    return call.fragment("shelf.html", said=said, **await _shelf(call))


async def clear_queue(call: Call) -> Response:
    ended = await call.services.steering.clear_queue()
    return call.fragment("said.html", said=f"{ended} waiting {'job was' if ended == 1 else 'jobs were'} ended.")


async def restart_workers(call: Call) -> Response:
    await call.services.steering.restart_workers()
    return call.fragment("said.html", said="The workers finish what they are on, and start anew.")


async def _accounts(call: Call) -> dict[str, object]:
    named, after = call.form.text("named", limit=MOST_NAME).strip(), call.form.whole("after", 0, 0, 2**63 - 1)
    found = await call.services.ledger.accounts(named, after=after, limit=ACCOUNTS + 1)
    shown, more = found[:ACCOUNTS], None
    if len(found) > ACCOUNTS:
        more = "/console/operator/accounts?" + urlencode({"named": named, "after": shown[-1].id})
    return {"accounts": shown, "more": more, "beginning": not after, "settings": call.services.settings}


async def _shelf(call: Call) -> dict[str, object]:
    services = call.services
    return {
        "entries": await services.catalogue.entries(call.account),
        "aliases": await services.catalogue.aliases(),
        "added": {each.name: each for each in await services.additions.all()},
        "account": call.account,
    }


async def _now(call: Call) -> dict[str, object]:
    services = call.services
    called = {name_of(each.id): each.name for each in await services.additions.all()}
    return {
        "now": await services.overview.statistics(),
        "waiting": await services.overview.waiting(),
        "called": called,
    }


def _hours(done: list[Done]) -> list[Plot]:
    pictures = [(f"{each.at:%H:%M}", float(each.pictures)) for each in done]
    pace = [(f"{each.at:%H:%M}", each.seconds / each.pictures if each.pictures else 0.0) for each in done]
    total = sum(each.pictures for each in done)
    mean = sum(each.seconds for each in done) / total if total else 0.0
    return [
        plot(f"Pictures an hour, {HOURS} hours (UTC)", pictures, "pictures", f"{total} in all"),
        plot("Seconds of the engine for a picture", pace, "s", f"{mean:.2f} s on average"),
    ]
