"""Large files on real sockets: what breaks off is gone on with, what changed or grows too large is not."""

from __future__ import annotations

import tempfile

import pytest

from safelight.errors import Unfetchable
from safelight.service import download
from safelight.service.download import Download
from safelight.service.outbound import Outbound
from tests.service.receiver import Behaviour, Receiver, answer, raw, receiver

pytestmark = pytest.mark.anyio
FILE = bytes(range(256)) * 40


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "PAUSE", 0.001)


def part(begin: int, end: int, status: int = 200, whole: int = len(FILE), **more: str) -> Behaviour:
    """The bytes from ``begin`` to ``end`` of an answer that promised all the rest."""
    lines = {"Content-Length": str(len(FILE) - begin), "ETag": '"one"', **more}
    lines |= {"Content-Range": f"bytes {begin}-{len(FILE) - 1}/{whole}"} if status == 206 else {}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return raw(f"HTTP/1.1 {status} Whatever\r\n{head}\r\n".encode() + FILE[begin:end])


async def fetched(*script: Behaviour, limit: int = len(FILE), seconds: float = 60.0) -> tuple[bytes, Receiver]:
    with tempfile.TemporaryFile() as file:
        async with receiver(*script) as server:
            outbound = Outbound({80}, ["127.0.0.1"])
            await Download(outbound, server.url, file, "url", limit, lambda done, whole: None).run(seconds)
        file.seek(0)
        return file.read(), server


async def refused(*script: Behaviour, limit: int = len(FILE), seconds: float = 60.0) -> str:
    with pytest.raises(Unfetchable) as caught:
        await fetched(*script, limit=limit, seconds=seconds)
    return caught.value.rule


async def test_what_breaks_off_twice_is_gone_on_with_from_there() -> None:
    found, server = await fetched(part(0, 3000), part(3000, 7000, 206), part(7000, len(FILE), 206))
    assert found == FILE
    asked = [(one.headers.get("range"), one.headers.get("if-range")) for one in server.received]
    assert asked == [(None, None), ("bytes=3000-", '"one"'), ("bytes=7000-", '"one"')]


async def test_a_server_that_has_no_time_for_a_while_is_asked_again_once_it_has_sent_a_part() -> None:
    busy = answer(status=503)
    assert (await fetched(part(0, 3000), busy, busy, part(3000, len(FILE), 206)))[0] == FILE
    assert await refused(busy) == "was answered with status 503"
    assert await refused(part(0, 3000), busy) == "was answered with status 503"


async def test_one_that_did_not_say_how_much_there_is_may_say_so_later() -> None:
    chunked = b"Transfer-Encoding: chunked\r\n\r\nbb8\r\n" + FILE[:3000] + b"\r\n"
    found, server = await fetched(
        raw(b'HTTP/1.1 200 Whatever\r\nETag: "one"\r\n' + chunked), part(3000, len(FILE), 206)
    )
    assert (found, server.received[1].headers["range"]) == (FILE, "bytes=3000-")
    found, server = await fetched(
        raw(b"HTTP/1.1 200 Whatever\r\n" + chunked), answer(FILE)
    )  # nothing tells whether it is the same
    assert (found, server.received[1].headers.get("range")) == (FILE, None)


async def test_what_begins_wrongly_is_not_fetched_to_its_end() -> None:
    def glance(begins: bytes) -> None:
        raise Unfetchable("url", f"begins with {begins[:3]!r}")

    with tempfile.TemporaryFile() as file:
        async with receiver(part(0, 3000)) as server:
            outbound = Outbound({80}, ["127.0.0.1"])
            with pytest.raises(Unfetchable, match="begins with"):
                await Download(outbound, server.url, file, "url", len(FILE), lambda done, whole: None, glance).run(60)
        assert file.tell() == 0


async def test_a_server_that_knows_no_ranges_is_asked_from_the_beginning() -> None:
    assert (await fetched(part(0, 3000), answer(FILE)))[0] == FILE


async def test_a_file_that_changed_is_not_sewn_together() -> None:
    assert await refused(part(0, 3000), part(3000, len(FILE), 206, whole=7)) == "changed while it was fetched"
    assert await refused(part(0, 3000), part(2000, len(FILE), 206)) == "changed while it was fetched"


async def test_one_that_never_sends_what_it_promised_is_given_up() -> None:
    assert await refused(part(0, 3000), part(3000, 3000, 206)) == "broke off its answer"


async def test_the_limits_hold() -> None:
    too_large = "is larger than 0.000954 MB"
    assert await refused(answer(FILE), limit=1000) == too_large
    endless = raw(b"HTTP/1.1 200 Whatever\r\n\r\n", *[FILE] * 10)
    assert await refused(endless, limit=1000) == too_large
    assert await refused(raw(b"HTTP/1.1 200 Whatever\r\nContent-Length: 9\r\n\r\n", pause=60), seconds=0.2) == (
        "took too long to answer"
    )
    assert await refused(answer(status=404)) == "was answered with status 404"
