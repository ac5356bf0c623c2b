"""The socket that the server listens on, by which address clients find it, and what is said when it opens."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass

import structlog

from safelight.errors import SetupFailed
from safelight.settings import Settings

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Opening:
    """What a server tells its operator when it opens: its address, the first key where one was just made, and the address at which a
    browser is signed in to the console, once."""

    url: str
    key: str | None
    console: str | None


def listen(settings: Settings) -> socket.socket:
    """Bound before anything is started, so that a port in use costs nothing."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # With the protocol named, asyncio switches Nagle's delay off on every connection: 40 ms of each reply.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise SetupFailed(
            f"Cannot listen on {settings.host}:{settings.port}: {error.strerror}. Choose another with --port."
        ) from None
    return listener


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def reachable(settings: Settings) -> Settings:
    """0.0.0.0 means every address of this machine and is none that a client could be sent to: one of its own stands in."""
    if settings.public_url or not _is_unspecified(settings.host):
        return settings
    own = settings.model_copy(update={"host": _own_address(settings.host)}).base_url
    if said := unreachable(settings):
        log.warning("%s Until then they begin with %s.", said, own)
    return settings.model_copy(update={"public_url": own})


def unreachable(settings: Settings) -> str | None:
    """A sentence, where the addresses in replies would lead nobody here."""
    if settings.public_url or settings.trust_first_host or not _is_unspecified(settings.host):
        return None
    return (
        f"Nobody can follow addresses that begin with {settings.base_url}. "
        "Set SAFELIGHT_PUBLIC_URL (--public-url) to the address by which clients reach this server."
    )


def _is_unspecified(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return host == ""


def _own_address(host: str) -> str:
    """The one that packets to elsewhere would leave from. None is sent: the far ends are reserved for documentation."""
    family, elsewhere = (socket.AF_INET6, "2001:db8::1") if ":" in host else (socket.AF_INET, "192.0.2.1")
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((elsewhere, 9))
        except OSError:  # no network but this machine's own
            return "localhost"
        return str(probe.getsockname()[0])
