"""Which address of the console does what: open ones, pages, and forms. Every answer that is none is made here too."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse, RedirectResponse

from safelight.errors import NotFound, SafelightError, Unauthorized
from safelight.service.services import Services
from safelight.settings import Settings
from safelight.wire.console import account, gallery, guard, make, operator
from safelight.wire.console.call import NOTICE, Call, is_fragment
from safelight.wire.console.pages import HEADERS, MEDIA_TYPES, STATIC, render
from safelight.wire.forms import read_form, read_upload
from safelight.wire.http import refusal_of
from safelight.wire.openapi import Endpoint

PREFIX = "/console"
MOST_TICKET = 200

Act = Callable[[Call], Awaitable[Response]]

PAGES: dict[str, Act] = {
    "": make.page,
    "/account": account.page,
    "/gallery": gallery.page,
    "/operator": operator.for_operators(operator.page),
    "/operator/accounts": operator.for_operators(operator.accounts),
    "/operator/now": operator.for_operators(operator.now),
    "/thumbs/{name}": gallery.thumb,
    "/jobs/{id}": gallery.details,
    "/jobs/{id}/card": make.card,
    "/jobs/{id}/events": make.events,
}
FORMS: dict[str, Act] = {
    "/make": make.submit,
    "/jobs/{id}/again": make.again,
    "/jobs/{id}/erase": make.erase,
    "/pictures/{name}/enlarge": make.enlarge,
    "/erase": gallery.erase,
    "/keys": account.make_key,
    "/keys/{id}/name": account.name_key,
    "/keys/{id}/revoke": account.revoke_key,
    "/account/erase": account.erase,
    "/account/retention": account.retain,
    "/webhooks/{id}/replay": account.replay,
    "/operator/examine": operator.for_operators(operator.examine),
    "/operator/keys": operator.for_operators(operator.make_key),
    "/operator/checkpoints": operator.for_operators(operator.add_checkpoint),
    "/operator/checkpoints/remove": operator.for_operators(operator.remove_checkpoint),
    "/operator/limits": operator.for_operators(operator.limit_account),
    "/operator/clear": operator.for_operators(operator.clear_queue),
    "/operator/restart": operator.for_operators(operator.restart_workers),
}


def routes(services: Services) -> APIRouter:
    router = APIRouter()

    def add(method: str, path: str, endpoint: Endpoint) -> None:
        router.add_api_route(PREFIX + path, endpoint, methods=[method], include_in_schema=False)

    add("GET", "/static/{name}", _static)
    add("GET", "/enter", _guarded(services, _enter))
    add("GET", "/sign-in", _guarded(services, _door))
    add("POST", "/sign-in", _guarded(services, _sign_in))
    add("POST", "/sign-out", _guarded(services, _sign_out))
    for path, act in PAGES.items():
        add("GET", path, _guarded(services, _of_page(act)))
    for path, act in FORMS.items():
        add("POST", path, _guarded(services, _of_form(act)))
    return router


Answer = Callable[[Services, Request], Awaitable[Response]]


def _guarded(services: Services, answer: Answer) -> Endpoint:
    """Asked under our own name; what changes anything, by our own page; and with every error as this dialect words it."""

    async def endpoint(request: Request) -> Response:
        try:
            guard.check_host(request, services.settings)
            if request.method == "POST":
                guard.check_origin(request, services.settings)
            return await answer(services, request)
        except SafelightError as error:
            return _refused(error, request)

    return endpoint


def _of_page(act: Act) -> Answer:
    async def answer(services: Services, request: Request) -> Response:
        token = guard.token_of(request)
        account = await services.sessions.find(token)
        return await act(Call(services, account, request, token, await read_form(request, services.settings)))

    return answer


def _of_form(act: Act) -> Answer:
    async def answer(services: Services, request: Request) -> Response:
        token = guard.token_of(request)
        account = await services.sessions.find(token)
        form, files = await read_upload(request, services.settings)
        guard.check_csrf(request, form, token)
        return await act(Call(services, account, request, token, form, files))

    return answer


async def _door(_services: Services, _request: Request) -> Response:
    return render("sign_in.html", {"said": ""})


async def _sign_in(services: Services, request: Request) -> Response:
    """Always a new session: what the browser came with counts for nothing."""
    form = await read_form(request, services.settings)
    try:
        account = await services.accounts.authenticate(form.key)
    except Unauthorized:
        return render("sign_in.html", {"said": "No account has this key, or it was revoked."}, 401)
    return _signed_in(await services.sessions.begin(account), services.settings)


async def _enter(services: Services, request: Request) -> Response:
    """By the address that ``safelight serve`` prints, which works once."""
    ticket = str(request.query_params.get("ticket", ""))[:MOST_TICKET]
    return _signed_in(await services.sessions.redeem(ticket), services.settings)


def _signed_in(token: str, settings: Settings) -> Response:
    return guard.keep_token(RedirectResponse(PREFIX, 303, HEADERS), token, settings)


async def _sign_out(services: Services, request: Request) -> Response:
    token = guard.token_of(request)
    account = await services.sessions.find(token)
    form = await read_form(request, services.settings)
    guard.check_csrf(request, form, token)
    await (services.sessions.end_all(account) if form.yes("everywhere", False) else services.sessions.end(token))
    return guard.forget_token(RedirectResponse(PREFIX, 303, HEADERS))


async def _static(request: Request) -> Response:
    if (path := STATIC.get(request.path_params["name"])) is None:
        raise NotFound
    kept = {"Cache-Control": "public, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}
    return FileResponse(path, media_type=MEDIA_TYPES[path.suffix], headers=kept)


def _refused(error: Exception, request: Request) -> Response:
    """Whoever is not signed in and wants a page is led to where that is done; a part of a page has its own place for what went wrong."""
    refusal, fragment = refusal_of(error), is_fragment(request)
    if isinstance(error, Unauthorized) and "text/html" in request.headers.get("accept", "") and not fragment:
        return RedirectResponse(f"{PREFIX}/sign-in", 303, HEADERS)
    if isinstance(error, Unauthorized) and fragment:
        return Response(status_code=refusal.status, headers={**HEADERS, "HX-Redirect": f"{PREFIX}/sign-in"})
    name, headers = ("notice.html", NOTICE) if fragment else ("error.html", {})
    return render(name, {"said": refusal.sentence}, refusal.status, {**refusal.headers, **headers})


def write_error(error: Exception, _path: str, _settings: Settings) -> Response:
    """Of what no act of ours answered: an address that leads nowhere, or a mistake of ours."""
    refusal = refusal_of(error)
    return render("error.html", {"said": refusal.sentence}, refusal.status, refusal.headers)
