"""An account as its owner sees it: keys, use, webhooks, where it is signed in, and the end of everything it has here."""

from __future__ import annotations

from fastapi import Response

from safelight.errors import Invalid
from safelight.service.overview import Done
from safelight.service.retention import DAY, LEAST, MOST
from safelight.service.usage import month_began
from safelight.wire.console.call import Call
from safelight.wire.console.plots import Plot, plot
from safelight.wire.http import path_id
from safelight.wire.keeping import read_store, says_store

DAYS = 30
DELIVERIES = 20
MOST_LABEL = 100


async def page(call: Call) -> Response:
    services, account = call.services, call.account
    membership = await services.ledger.membership(account)
    return call.page(
        "account.html",
        keys=await services.accounts.own_keys(account),
        month=await services.usage.totals(account, month_began()),
        ever=await services.usage.totals(account),
        plot=_days(await services.overview.done("day", DAYS, account)),
        under_way=await services.jobs.unfinished(account),
        queue=await services.jobs.limit(account),
        plan=membership.name if services.settings.billing else None,
        wallet=await services.ledger.wallet(account),
        currency=services.settings.currency,
        **await _kept(call),
        posted=await services.outbox.posted(account, limit=DELIVERIES),
    )


async def make_key(call: Call) -> Response:
    """Its secret is shown now and never again."""
    label = call.form.text("label", limit=MOST_LABEL).strip()
    key, secret = await call.services.accounts.create_key(call.account.name, label)
    return await _keys(call, made=key.id, secret=secret)


async def name_key(call: Call) -> Response:
    label = call.form.text("label", limit=MOST_LABEL).strip()
    await call.services.accounts.relabel_own(call.account, path_id(call.request), label)
    return await _keys(call)


async def revoke_key(call: Call) -> Response:
    """Also the one that this browser came with, which signs it out."""
    await call.services.accounts.revoke_own(call.account, path_id(call.request))
    return await _keys(call)


async def replay(call: Call) -> Response:
    """Its row as it is now."""
    posted = await call.services.outbox.replay(call.account, call.request.path_params["id"])
    return call.fragment("delivery.html", each=posted)


async def retain(call: Call) -> Response:
    """Days, or nothing at all: until they are deleted. Or whether anything is stored."""
    if says_store(call.form):
        await call.services.accounts.store(call.account, read_store(call.form))
    else:
        days = call.form.real("days", 0, LEAST / DAY, MOST / DAY)
        await call.services.retention.limit(call.account, days * DAY or None)
    return call.fragment("retention.html", **await _kept(call), saved=True)


async def erase(call: Call) -> Response:
    """Whoever means it writes the account's name."""
    if call.form.text("typed", limit=200).strip() != call.account.name:
        raise Invalid("", "Write the account's name to erase everything it has here.")
    receipt = await call.services.erasure.delete_everything(call.account)
    return call.fragment("receipt.html", receipt=receipt)


async def _kept(call: Call) -> dict[str, object]:
    limits = await call.services.retention.limits(call.account)
    own = [each.seconds / DAY for each in limits if each.set_by == "owner" and each.key_id is None]
    return {
        "limits": limits,
        "own_days": own[0] if own else None,
        "output_days": call.services.settings.output_days,
        "stores": await call.services.accounts.stores(call.account),
    }


async def _keys(call: Call, made: int = 0, secret: str = "") -> Response:
    keys = await call.services.accounts.own_keys(call.account)
    return call.fragment("keys.html", keys=keys, account=call.account, made=made, secret=secret)


def _days(done: list[Done]) -> Plot:
    total = f"{sum(each.pictures for each in done)} pictures"
    return plot(
        f"Pictures a day, {DAYS} days", [(f"{each.at:%-d %b}", each.pictures) for each in done], "pictures", total
    )
