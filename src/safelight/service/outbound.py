"""The one client for every address a caller gives: init images, masks, webhooks. Nothing else imports an HTTP client.

It speaks HTTP/1.1 through httpcore, which has no cookies, proxies, redirects, credentials or decompression of its own.
Names are resolved once and the connection goes to the very address that was checked. Knows nothing of pictures or jobs.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property, partial
from ipaddress import ip_address
from weakref import WeakValueDictionary

import certifi
import httpcore
from httpx import URL, InvalidURL

from safelight import __version__
from safelight.errors import Unfetchable
from safelight.service.addresses import is_public

Response = httpcore.Response
BROKEN_OFF = (
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.TimeoutException,
)  # what may go on where it stopped
Resolve = Callable[[str, int], Awaitable[list[str]]]

_DEFAULT_PORTS = {"http": 80, "https": 443}
_REDIRECTS = 4
_REDIRECT_STATUSES = frozenset({301, 302, 303, 307, 308})
_LONGEST_ADDRESS = 4096
_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+")
_FETCHES = 64  # at a time
_FETCHES_OF_ONE = 16  # at a time for one payer: who names hosts that never answer waits behind himself
_CONNECT_SECONDS = 5.0  # for one of a host's addresses, before the next is tried
_ADDRESSES_TRIED = 4
_PATIENCE = {
    "timeout": {"read": 120.0, "write": 120.0}
}  # of a host that has gone quiet; the deadlines are shorter, but for large files
_NAME_LOOKUPS = ThreadPoolExecutor(16, thread_name_prefix="names")  # of its own: slow name servers starve nobody else


@dataclass(frozen=True, slots=True)
class Answer:
    """What a receiver said: its status, and the seconds after which it wants to be asked again."""

    status: int
    retry_after: float | None = None


class Outbound:
    """Reaches out on behalf of strangers. Every failure is an Unfetchable with a sentence of ours."""

    def __init__(
        self,
        ports: Collection[int],
        private_hosts: Iterable[str] = (),
        *,
        resolve: Resolve | None = None,
        network: httpcore.AsyncNetworkBackend | None = None,
    ) -> None:
        self._ports = ports
        self._private = frozenset(_plain(host) for host in private_hosts)
        self._backend = _CheckedNetwork(self._private, resolve or look_up, network or httpcore.AnyIOBackend())
        self._slots = asyncio.Semaphore(_FETCHES)
        self._shares: WeakValueDictionary[int, asyncio.Semaphore] = WeakValueDictionary()

    async def fetch(self, address: str, *, field: str, limit: int, seconds: float, payer: int = 0) -> bytes:
        """The body behind ``address``, at most ``limit`` bytes, redirects followed, all within ``seconds``."""
        headers = {"Accept": "image/png,image/jpeg,image/webp;q=0.9,*/*;q=0.1"}
        share = self._shares.setdefault(payer, asyncio.Semaphore(_FETCHES_OF_ONE))
        with sentences(field):
            async with (
                asyncio.timeout(seconds),
                share,
                self._slots,
                self.open(address, headers, field=field) as response,
            ):
                return await _body(response, field, limit)

    @asynccontextmanager
    async def open(self, address: str, headers: Mapping[str, str], *, field: str) -> AsyncIterator[httpcore.Response]:
        """What ``address`` answers, redirects followed. Within ``sentences``, its failures have sentences too."""
        url = self.check(address, field=field)
        for _ in range(_REDIRECTS + 1):
            async with self._ask("GET", url, headers) as response:
                target = _redirect(url, response, field)
                if target is None:
                    yield response
                    return
            url = self.check(str(target), field=field)
        raise Unfetchable(field, "redirects too often")

    async def post(
        self, address: str, *, field: str, body: bytes, headers: Mapping[str, str], seconds: float
    ) -> Answer:
        """Sends ``body`` and reads the status alone. A redirect is an answer like any other: it is not followed."""
        with sentences(field):
            url = self.check(address, field=field)
            async with asyncio.timeout(seconds), self._ask("POST", url, headers, body) as response:
                return Answer(response.status, _retry_after(header_of(response, b"retry-after")))

    def check(self, address: str, *, field: str) -> URL:
        """The rules that need no network: scheme, user name, host, port."""
        url = _parse(address, field)
        if url.scheme not in _DEFAULT_PORTS or not url.host:
            raise Unfetchable(field, "must begin with http:// or https://")
        if url.userinfo:
            raise Unfetchable(field, "must not hold a user name or password")
        if not 0 < _port(url) < 2**16 or (_port(url) not in self._ports and _plain(url.host) not in self._private):
            raise Unfetchable(field, "must not use this port")
        return url

    @asynccontextmanager
    async def _ask(
        self, method: str, url: URL, headers: Mapping[str, str], body: bytes = b""
    ) -> AsyncIterator[httpcore.Response]:
        target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=_port(url), target=url.raw_path)
        ours = {
            "Host": url.netloc.decode("ascii"),
            "User-Agent": f"safelight/{__version__}",
            "Accept-Encoding": "identity",
        }
        ours |= {"Connection": "close"} | ({"Content-Length": str(len(body))} if body else {})
        tls = self._tls if url.scheme == "https" else None
        async with (
            httpcore.AsyncConnectionPool(tls, max_connections=1, network_backend=self._backend) as pool,
            pool.stream(
                method, target, headers=_encode(ours | dict(headers)), content=body or None, extensions=_PATIENCE
            ) as response,
        ):
            yield response

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        """The system's authorities (SSL_CERT_FILE is honoured) and, for systems without any, certifi's."""
        context = ssl.create_default_context()
        context.load_verify_locations(certifi.where())
        return context


class _CheckedNetwork(httpcore.AsyncNetworkBackend):
    """Dials numbers only, and only numbers that it has checked itself. Name and certificate stay those of the URL."""

    def __init__(self, private: frozenset[str], resolve: Resolve, network: httpcore.AsyncNetworkBackend) -> None:
        self._private = private
        self._resolve = resolve
        self._network = network

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002, ASYNC109 (httpcore's signature; the caller's deadline holds)
        local_address: str | None = None,  # noqa: ARG002
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,  # noqa: ARG002
    ) -> httpcore.AsyncNetworkStream:
        numbers = await self._resolve(host, port)
        if not numbers:
            raise _NotFoundError
        if _plain(host) not in self._private and not all(is_public(number) for number in numbers):
            raise _NotAllowedError
        return await self._first(numbers[:_ADDRESSES_TRIED], port)

    async def _first(self, numbers: list[str], port: int) -> httpcore.AsyncNetworkStream:
        for number in numbers[:-1]:
            try:
                return await self._network.connect_tcp(number, port, _CONNECT_SECONDS)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return await self._network.connect_tcp(numbers[-1], port, _CONNECT_SECONDS)


class _NotFoundError(Exception):
    """The host has no address."""


class _NotAllowedError(Exception):
    """One of the host's addresses is not public."""


async def look_up(host: str, port: int) -> list[str]:
    """The addresses of ``host`` from the system's resolver, which also reads the odd spellings of numbers (0x7f.1)."""
    ask = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    try:
        found = await asyncio.get_running_loop().run_in_executor(_NAME_LOOKUPS, ask)
    except (OSError, UnicodeError):
        return []
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def _parse(address: str, field: str) -> URL:
    try:
        url = URL(address) if len(address) <= _LONGEST_ADDRESS else None
    except InvalidURL:
        url = None
    if url is None or (url.host and not _HOST.fullmatch(url.host)):
        raise Unfetchable(field, "is not a valid address")
    return url


def _port(url: URL) -> int:
    return _DEFAULT_PORTS[url.scheme] if url.port is None else url.port


def _plain(host: str) -> str:
    """One spelling for a host: numbers as ``ipaddress`` writes them, names in lower case without a closing dot."""
    try:
        return str(ip_address(host))
    except ValueError:
        return host.lower().rstrip(".")


def _encode(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("ascii"), value.encode("ascii")) for name, value in headers.items()]


def header_of(response: httpcore.Response, name: bytes) -> str | None:
    found = [value for key, value in response.headers if key.lower() == name]
    return found[0].decode("latin-1").strip() if found else None


def _redirect(url: URL, response: httpcore.Response, field: str) -> URL | None:
    location = header_of(response, b"location")
    if response.status not in _REDIRECT_STATUSES or not location:
        return None
    try:
        return url.join(location)
    except InvalidURL:
        raise Unfetchable(field, "is not a valid address") from None


async def _body(response: httpcore.Response, field: str, limit: int) -> bytes:
    if response.status != 200:
        raise Unfetchable(field, f"was answered with status {response.status}")
    if (header_of(response, b"content-encoding") or "identity").lower() != "identity":
        raise Unfetchable(field, "is sent compressed, which was not asked for")
    length = header_of(response, b"content-length") or ""
    if length.isdecimal() and len(length) < 20 and int(length) > limit:
        raise Unfetchable(field, f"is larger than {megabytes(limit)} MB")
    body = bytearray()
    async for chunk in response.aiter_stream():
        body += chunk
        if len(body) > limit:
            raise Unfetchable(field, f"is larger than {megabytes(limit)} MB")
    return bytes(body)


def megabytes(count: int) -> str:
    return f"{count / 2**20:.3g}"


def _retry_after(value: str | None) -> float | None:
    """Seconds, from either form of the header; None where it says nothing that can be understood."""
    if value is None:
        return None
    if value.isdecimal() and len(value) < 10:
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None


@contextmanager
def sentences(field: str) -> Iterator[None]:
    """The edge of this room: whatever goes wrong on the way is an Unfetchable."""
    try:
        yield
    except (TimeoutError, httpcore.TimeoutException):
        raise Unfetchable(field, "took too long to answer") from None
    except _NotFoundError:
        raise Unfetchable(field, "names a host that cannot be found") from None
    except _NotAllowedError:
        raise Unfetchable(field, "leads to an address that is not allowed") from None
    except httpcore.ConnectError:
        raise Unfetchable(field, "cannot be connected to") from None
    except (httpcore.NetworkError, httpcore.ProtocolError, OSError):
        raise Unfetchable(field, "broke off its answer") from None
