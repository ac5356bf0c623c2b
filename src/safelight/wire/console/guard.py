"""Who may speak to the console: a page of this very server, in a browser that is signed in.

A page elsewhere whose name was made to lead here (DNS rebinding) has another Host, one that posts across has another Origin, and
neither knows the token that every form carries. Knows no page.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from urllib.parse import urlsplit

from fastapi import Request, Response

from safelight.errors import Forbidden
from safelight.service.sessions import SESSION_SECONDS
from safelight.settings import Settings
from safelight.wire.forms import Form

COOKIE = "safelight"
CSRF_FIELD, CSRF_HEADER = "csrf", "X-CSRF-Token"
MOST_TOKEN = 200


def check_host(request: Request, settings: Settings) -> None:
    """An IP address cannot be made to lead elsewhere; of names only our own are taken. Raises Forbidden."""
    name = (urlsplit(f"//{request.headers.get('host', '')}").hostname or "").lower()
    ours = {"localhost", (urlsplit(settings.base_url).hostname or "").lower()}
    if name not in ours and not name.endswith(".localhost") and not _is_address(name):
        raise Forbidden("The console is not served under this name. Set SAFELIGHT_PUBLIC_URL to the address you use.")


def check_origin(request: Request, settings: Settings) -> None:
    """Of what changes anything. Raises Forbidden."""
    origin = request.headers.get("origin", "").lower()
    here = {f"{scheme}://{request.headers.get('host', '').lower()}" for scheme in ("http", "https")}
    if origin not in here | {settings.base_url.lower()}:
        raise Forbidden("This was asked for by another page.")
    if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
        raise Forbidden("This was asked for by another page.")


def check_csrf(request: Request, form: Form, token: str) -> None:
    """Raises Forbidden."""
    given = request.headers.get(CSRF_HEADER) or form.text(CSRF_FIELD, limit=MOST_TOKEN)
    if not hmac.compare_digest(given.encode(), csrf_of(token).encode()):
        raise Forbidden("This page is out of date. Load it again.")


def csrf_of(token: str) -> str:
    """Belongs to one session and does not tell its token."""
    return hmac.new(token.encode(), b"csrf", hashlib.sha256).hexdigest()


def token_of(request: Request) -> str:
    return request.cookies.get(COOKIE, "")[:MOST_TOKEN]


def keep_token(response: Response, token: str, settings: Settings) -> Response:
    response.set_cookie(
        COOKIE, token, max_age=int(SESSION_SECONDS), path="/console", httponly=True, samesite="strict",
        secure=settings.base_url.startswith("https://"),
    )  # fmt: skip
    return response


def forget_token(response: Response) -> Response:
    response.delete_cookie(COOKIE, path="/console", httponly=True, samesite="strict")
    return response


def _is_address(name: str) -> bool:
    try:
        return bool(ipaddress.ip_address(name.partition("%")[0]))
    except ValueError:
        return False
