"""The outbound client on real sockets: what it will not reach, what it will not wait for, what it will not swallow."""

from __future__ import annotations

import ast
import asyncio
import gzip
import ssl
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import cache
from ipaddress import ip_address
from pathlib import Path

import httpcore
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

import safelight
from safelight.errors import Unfetchable
from safelight.service.addresses import is_public
from safelight.service.outbound import Answer, Outbound
from tests.service.receiver import (
    Behaviour,
    Elsewhere,
    Receiver,
    answer,
    drip,
    endless,
    hang,
    raw,
    receiver,
    redirect,
    reset,
)

NOT_ALLOWED = "leads to an address that is not allowed"
SPELLINGS_OF_HERE = [
    "127.0.0.1",
    "127.1.2.3",
    "localhost",
    "localhost.",
    "LOCALHOST",
    "0",
    "0.0.0.0",
    "127.1",
    "2130706433",
    "0x7f.1",
    "0x7f000001",
    "0177.0.0.1",
    "127。0。0。1",
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b:1::7f00:1]",
    "[2002:7f00:1::1]",
    "[2001:0:7f00:1::1]",
]
OTHER_PRIVATE = [
    "169.254.169.254",
    "[64:ff9b::a9fe:a9fe]",
    "[fd00:ec2::254]",
    "[fe80::1]",
    "[ff02::1]",
    "[3fff::1]",
    "[2001:db8::1]",
    "100.100.100.200",
    "100.64.0.1",
    "168.63.129.16",
    "192.0.0.192",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
]


def resolver(*answers: list[str]) -> tuple[Callable[[str, int], Awaitable[list[str]]], list[str]]:
    """A name server that gives each answer once, the last one for ever, and the names that were asked for."""
    asked: list[str] = []

    async def resolve(host: str, _: int) -> list[str]:
        asked.append(host)
        return answers[min(len(asked), len(answers)) - 1]

    return resolve, asked


def local(**options: object) -> Outbound:
    return Outbound({80}, ["127.0.0.1"], **options)  # type: ignore[arg-type]


async def get(outbound: Outbound, url: str, limit: int = 1000, seconds: float = 60.0) -> bytes:
    return await outbound.fetch(url, field="init_image", limit=limit, seconds=seconds)


async def refused(outbound: Outbound, url: str, limit: int = 1000, seconds: float = 60.0) -> str:
    with pytest.raises(Unfetchable) as caught:
        await get(outbound, url, limit, seconds)
    assert caught.value.field == "init_image"
    assert "127.0.0.1" not in caught.value.rule
    return caught.value.rule


def told(*script: Behaviour, limit: int = 1000, seconds: float = 60.0) -> str:
    """The rule that a fetch from a server with this script breaks."""

    async def story() -> str:
        async with receiver(*script) as here:
            return await refused(local(), here.url, limit, seconds)

    return asyncio.run(story())


@pytest.mark.parametrize("host", SPELLINGS_OF_HERE + OTHER_PRIVATE)
def test_no_spelling_of_a_private_address_is_reached(host: str) -> None:
    async def story() -> None:
        async with receiver() as canary:
            rule = await refused(Outbound({canary.port}), f"http://{host}:{canary.port}/")
            assert rule in (NOT_ALLOWED, "names a host that cannot be found", "is not a valid address")
            assert canary.connections == 0

    asyncio.run(story())


def test_the_same_canary_is_reached_when_its_host_is_named() -> None:
    async def story() -> None:
        async with receiver(answer(b"hello")) as canary:
            assert await get(Outbound(set(), ["127.0.0.1"]), canary.url) == b"hello"
            assert await get(Outbound(set(), ["LocalHost."]), f"http://localhost:{canary.port}") == b"hello"
            assert await refused(Outbound({canary.port}, ["localhost"]), canary.url) == NOT_ALLOWED
            assert canary.connections == 2

    asyncio.run(story())


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_public_addresses(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("host", SPELLINGS_OF_HERE + OTHER_PRIVATE)
def test_private_addresses(host: str) -> None:
    with suppress(ValueError):  # the spellings that only the system's resolver reads are for the test above
        assert not is_public(str(ip_address(host.strip("[]"))))


@pytest.mark.parametrize(
    ("url", "rule"),
    [
        ("file:///etc/passwd", "must begin with http:// or https://"),
        ("ftp://example.com/x", "must begin with http:// or https://"),
        ("gopher://127.0.0.1:6379/_x", "must begin with http:// or https://"),
        ("unix:/run/docker.sock", "must begin with http:// or https://"),
        ("javascript:alert(1)", "must begin with http:// or https://"),
        ("http:///x", "must begin with http:// or https://"),
        ("http:/example.com", "must begin with http:// or https://"),
        ("http://user@example.com/", "must not hold a user name or password"),
        ("http://good@127.0.0.1/", "must not hold a user name or password"),
        ("http://a:b@example.com/", "must not hold a user name or password"),
        ("http://good\\@127.0.0.1/", "must not hold a user name or password"),
        ("http://example.com:22/", "must not use this port"),
        ("http://example.com:6379/", "must not use this port"),
        ("http://example.com:0/", "must not use this port"),
        ("http://127.0.0.1:99999/", "must not use this port"),
        ("http://example.com\r\nX: y/", "is not a valid address"),
        ("http://exa mple.com/", "is not a valid address"),
        ("http://127%2e0.0.1/", "is not a valid address"),
        ("http://[::1%25lo]/", "is not a valid address"),
        ("http://[::1/", "is not a valid address"),
        ("http://①②⑦.0.0.1/", "is not a valid address"),
        ("http://\ud800/", "is not a valid address"),
        ("http://a\\b/", "is not a valid address"),
        ("http://example.com/" + "x" * 5000, "is not a valid address"),
    ],
)
def test_addresses_that_break_a_rule_by_their_look(url: str, rule: str) -> None:
    assert asyncio.run(refused(local(), url)) == rule


def test_one_private_answer_among_public_ones_refuses_the_host() -> None:
    async def story() -> None:
        async with receiver() as canary:
            resolve, _ = resolver(["93.184.216.34", "127.0.0.1"])
            net = Elsewhere(canary.port)
            assert await refused(Outbound({80}, resolve=resolve, network=net), "http://mixed.test/") == NOT_ALLOWED
            assert (net.dialled, canary.connections) == ([], 0)

    asyncio.run(story())


def test_rebinding_a_name_between_check_and_connection_changes_nothing() -> None:
    async def story() -> None:
        async with receiver(answer(b"public")) as here:
            resolve, asked = resolver(["93.184.216.34"], ["127.0.0.1"])
            net = Elsewhere(here.port)
            outbound = Outbound({80}, resolve=resolve, network=net)
            assert await get(outbound, "http://rebind.test/") == b"public"
            assert (asked, net.dialled) == (["rebind.test"], [("93.184.216.34", 80)])
            assert await refused(outbound, "http://rebind.test/") == NOT_ALLOWED
            assert net.dialled == [("93.184.216.34", 80)]

    asyncio.run(story())


def test_rebinding_between_a_redirect_and_its_target() -> None:
    async def story() -> None:
        async with receiver(redirect("/again")) as here:
            resolve, asked = resolver(["93.184.216.34"], ["127.0.0.1"])
            net = Elsewhere(here.port)
            assert await refused(Outbound({80}, resolve=resolve, network=net), "http://rebind.test/") == NOT_ALLOWED
            assert (asked, here.connections) == (["rebind.test"] * 2, 1)

    asyncio.run(story())


def test_the_next_address_is_tried_when_the_first_does_not_answer() -> None:
    class HalfDead(Elsewhere):
        async def connect_tcp(self, host: str, port: int, *args: object, **more: object) -> httpcore.AsyncNetworkStream:
            if host == "2606:4700::1":
                raise httpcore.ConnectError
            return await super().connect_tcp(host, port)

    async def story() -> None:
        async with receiver(answer(b"hello")) as here:
            resolve, _ = resolver(["2606:4700::1", "1.1.1.1"])
            assert (
                await get(Outbound({80}, resolve=resolve, network=HalfDead(here.port)), "http://two.test/") == b"hello"
            )

    asyncio.run(story())


def test_a_host_without_addresses() -> None:
    resolve, _ = resolver([])
    outbound = Outbound({80}, resolve=resolve)
    assert asyncio.run(refused(outbound, "http://nowhere.test/")) == "names a host that cannot be found"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed_and_every_step_is_checked(status: int) -> None:
    async def story() -> None:
        async with receiver() as canary, receiver(redirect("/two", status), answer(b"end")) as here:
            assert await get(local(), f"{here.url}/one") == b"end"
            assert [request.line for request in here.received] == ["GET /one HTTP/1.1", "GET /two HTTP/1.1"]
            here.script = [redirect(f"http://localhost:{canary.port}/", status)]
            assert await refused(local(), here.url) == "must not use this port"
            assert await refused(Outbound({canary.port}, ["127.0.0.1"]), here.url) == NOT_ALLOWED
            here.script = [redirect("file:///etc/passwd", status)]
            assert await refused(local(), here.url) == "must begin with http:// or https://"
            assert canary.connections == 0

    asyncio.run(story())


def test_a_loop_of_redirects_ends() -> None:
    assert told(redirect("/again")) == "redirects too often"


def test_redirects_to_nowhere() -> None:
    assert told(redirect("http://[")) == "is not a valid address"
    assert told(redirect("http://\xff\xfe/")) == "is not a valid address"
    assert told(redirect("/" + "x" * 70_000)) == "is not a valid address"
    assert told(answer(status=302)) == "was answered with status 302"


@pytest.mark.parametrize("status", [204, 206, 304, 401, 403, 404, 500])
def test_only_200_is_an_answer(status: int) -> None:
    assert told(answer(b"" if status in (204, 304) else b"secret", status)) == f"was answered with status {status}"


@pytest.mark.parametrize(
    "behaviour",
    [
        hang,
        drip(),
        drip(b"HTTP/1.1 200 OK\r\n\r\n"),
        drip(b"HTTP/1.1 200 OK\r\nX: "),
        raw(b"HTTP/1.1 100 Continue\r\n\r\n" * 9, pause=90),
    ],
    ids=["silence", "slow garbage", "slow body", "slow header", "continue for ever"],
)
def test_the_deadline_is_absolute(behaviour: Behaviour) -> None:
    begin = time.perf_counter()
    assert told(behaviour, limit=10**6, seconds=0.3) in ("took too long to answer", "broke off its answer")
    assert time.perf_counter() - begin < 50


def test_who_names_silent_hosts_waits_behind_himself() -> None:
    async def story() -> None:
        async with receiver(hang) as silent, receiver(answer(b"hello")) as quick:
            outbound = local()
            crowd = [
                asyncio.create_task(outbound.fetch(silent.url, field="x", limit=9, seconds=600, payer=1))
                for _ in range(99)
            ]
            while silent.connections < 16:
                await asyncio.sleep(0.01)
            assert await outbound.fetch(quick.url, field="x", limit=9, seconds=60, payer=2) == b"hello"
            assert silent.connections == 16
            for task in crowd:
                task.cancel()
            await asyncio.gather(*crowd, return_exceptions=True)

    asyncio.run(story())


def test_slow_redirects_share_one_deadline() -> None:
    async def slow(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.2)
        await redirect("/again")(writer)

    assert told(slow, seconds=0.5) == "took too long to answer"


@pytest.mark.parametrize(
    "behaviour",
    [
        answer(bytes(1001)),
        answer(content_length=str(10**15)),
        endless(b"HTTP/1.1 200 OK\r\n\r\n"),
        raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"3e9\r\n" + bytes(1001) + b"\r\n0\r\n\r\n"),
    ],
    ids=["a byte too many", "announced", "endless", "chunked"],
)
def test_too_many_bytes(behaviour: Behaviour) -> None:
    assert told(behaviour) == "is larger than 0.000954 MB"


def test_exactly_as_many_bytes_as_allowed() -> None:
    async def story() -> None:
        async with receiver(answer(bytes(1000))) as here:
            assert await get(local(), here.url) == bytes(1000)

    asyncio.run(story())


def test_compressed_bodies_are_refused_unopened() -> None:
    bomb = gzip.compress(bytes(10**6))
    assert told(answer(bomb, content_encoding="gzip"), limit=10**7) == "is sent compressed, which was not asked for"


@pytest.mark.parametrize(
    "behaviour",
    [
        reset,
        raw(b""),
        raw(b"SSH-2.0-OpenSSH_9.2\r\n"),
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort"),
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nx"),
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx"),
        raw(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000),
        raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
        raw(b"\0" * 100 + b"\r\n\r\n"),
    ],
)
def test_broken_answers(behaviour: Behaviour) -> None:
    assert told(behaviour) == "broke off its answer"


def test_nobody_listens() -> None:
    async def story() -> None:
        async with receiver() as here:
            url = here.url
        assert await refused(local(), url) == "cannot be connected to"

    asyncio.run(story())


def test_the_request_says_what_is_needed_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        async with receiver() as proxy, receiver(redirect("/b"), answer(b"x", set_cookie="a=b")) as here:
            monkeypatch.setenv("HTTP_PROXY", proxy.url)
            monkeypatch.setenv("ALL_PROXY", proxy.url)
            outbound = local()
            for _ in range(2):
                await get(outbound, f"{here.url}/a?q=1#fragment")
            assert proxy.connections == 0
            assert here.received[0].line == "GET /a?q=1 HTTP/1.1"
            assert here.received[-1].headers == {
                "host": f"127.0.0.1:{here.port}",
                "user-agent": f"safelight/{safelight.__version__}",
                "accept": "image/png,image/jpeg,image/webp;q=0.9,*/*;q=0.1",
                "accept-encoding": "identity",
                "connection": "close",
            }

    asyncio.run(story())


def test_a_post_is_answered_by_its_status_alone() -> None:
    async def post(here: Receiver, seconds: float = 60) -> Answer:
        headers = {"Content-Type": "application/json"}
        return await local().post(here.url, field="webhook", body=b'{"a":1}', headers=headers, seconds=seconds)

    async def story() -> None:
        async with receiver(answer(status=204)) as here:
            assert await post(here) == Answer(204)
            assert (here.received[0].line, here.received[0].body) == ("POST / HTTP/1.1", b'{"a":1}')
            for behaviour, expected in {
                redirect("/elsewhere"): Answer(302),
                answer(status=429, retry_after="7"): Answer(429, 7.0),
                answer(status=503, retry_after="soon"): Answer(503),
                answer(status=503, retry_after="Thu, 01 Jan 1970 00:00:00 GMT"): Answer(503, 0.0),
                endless(b"HTTP/1.1 200 OK\r\n\r\n"): Answer(200),
                drip(b"HTTP/1.1 200 OK\r\n\r\n"): Answer(200),
            }.items():
                here.script = [behaviour]
                assert await post(here) == expected
            here.script = [answer(status=503, retry_after=format_datetime(datetime.now(UTC) + timedelta(hours=1)))]
            assert 3500 < ((await post(here)).retry_after or 0) <= 3600

    asyncio.run(story())


def test_tls_checks_the_name_that_the_address_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "server.pem"))
    context = certified("pictures.test", tmp_path / "server.pem")

    async def story() -> None:
        async with receiver(answer(b"hello"), tls=context) as here:
            resolve, _ = resolver(["93.184.216.34"])
            outbound = Outbound({443}, resolve=resolve, network=Elsewhere(here.port))
            assert await get(outbound, "https://pictures.test/") == b"hello"
            assert await refused(outbound, "https://other.test/") == "cannot be connected to"
            assert len(here.received) == 1

    asyncio.run(story())


def certified(name: str, path: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    who = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    certificate = (
        x509.CertificateBuilder(who, who, key.public_key(), x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - timedelta(days=1))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


HTTP_CLIENTS = {
    "httpx",
    "httpx2",
    "httpcore",
    "httpcore2",
    "requests",
    "urllib3",
    "aiohttp",
    "http.client",
    "urllib.request",
}
SOURCE = Path(safelight.__file__).parent


@cache
def imported(path: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(path.read_text())))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    froms = [node for node in nodes if isinstance(node, ast.ImportFrom) and not node.level]
    return (
        plain
        | {str(node.module) for node in froms}
        | {f"{node.module}.{alias.name}" for node in froms for alias in node.names}
    )


def users_of(packages: set[str]) -> set[str]:
    return {
        path.relative_to(SOURCE).as_posix()
        for path in SOURCE.rglob("*.py")
        if any(name == package or name.startswith(f"{package}.") for name in imported(path) for package in packages)
    }


def test_nothing_else_in_safelight_speaks_http_to_strangers() -> None:
    """``chat.py`` speaks to the one server that the operator named."""
    assert users_of(HTTP_CLIENTS) == {"service/outbound.py", "service/chat.py"}


OPEN_OUR_OWN_ALONE = {  # what decode.py wrote, what the engine made, previews of it
    "service/crop.py",
    "service/widen.py",
    "service/makers/covers.py",
    "service/makers/framing.py",
    "service/makers/upscale.py",
    "wire/a1111/pictures.py",
    "wire/console/gallery.py",
    "wire/openai/pictures.py",
}


def test_pictures_from_outside_are_decoded_in_one_place_only() -> None:
    near_strangers = {path for path in users_of({"PIL"}) if path.startswith(("service/", "wire/", "storage/"))}
    assert near_strangers == {"service/decode.py"} | OPEN_OUR_OWN_ALONE
    assert users_of({"safelight.service.decode"}) == set()
