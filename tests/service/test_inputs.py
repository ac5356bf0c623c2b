"""The door for pictures: address, data URI or base64, and the exact sentence for everything that is not a picture."""

from __future__ import annotations

import asyncio
import base64
import socket
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image

from safelight.errors import Invalid, NotFound, Unfetchable
from safelight.records import Bitmap
from safelight.service.inputs import Inputs, OwnAsset
from safelight.service.outbound import Outbound
from safelight.settings import Settings
from tests.service import pictures
from tests.service.receiver import answer, receiver

NEITHER = "must be an http(s) address, a data URI with base64, or base64"


def opened(tmp_path: Path, own_asset: OwnAsset | None = None, **given: object) -> Inputs:
    settings = Settings(data_dir=tmp_path, **given)  # type: ignore[arg-type]
    return Inputs(settings, Outbound(settings.outbound_ports, settings.private_hosts), own_asset)


@pytest.fixture
def inputs(tmp_path: Path) -> Iterator[Inputs]:
    inputs = opened(tmp_path, private_hosts=frozenset({"127.0.0.1"}), max_image_bytes=100_000, max_image_pixels=10**6)
    yield inputs
    inputs.close()


def is_the_still(bitmap: Bitmap) -> bool:
    with Image.open(BytesIO(bitmap.png)) as picture:
        return np.array_equal(np.asarray(picture), pictures.speckled())


def refusal(inputs: Inputs, source: str, field: str = "init_image") -> str:
    with pytest.raises(Invalid) as caught:
        asyncio.run(inputs.bitmap(source, field=field))
    assert caught.value.field == field
    assert caught.value.message == f"{field} {caught.value.rule}"
    return caught.value.rule


def forms_of(data: bytes) -> dict[str, str]:
    plain = base64.b64encode(data).decode()
    return {
        "plain": plain,
        "no padding": plain.rstrip("="),
        "wrapped": "\r\n".join(plain[start : start + 76] for start in range(0, len(plain), 76)),
        "spaced": f"  \n{plain}\t ",
        "url-safe": base64.urlsafe_b64encode(data).decode(),
        "escaped": quote(plain, safe=""),
        "data URI": f"data:image/png;base64,{plain}",
        "data URI in capitals": f"DATA:IMAGE/PNG;BASE64,{plain}",
        "data URI with parameters": f"data:image/png;name=a.png;charset=utf-8;base64,{plain}",
        "data URI of another type": f"data:text/html;base64,{plain}",
        "data URI without a type": f"data:;base64,{plain}",
        "data URI as some clients write it": f"data:base64,{plain}",
        "data URI, wrapped": f"data:image/png;base64,\n{plain[:76]}\n{plain[76:]}",
    }


@pytest.mark.parametrize("form", forms_of(b"").keys())
def test_every_form_of_base64(inputs: Inputs, form: str) -> None:
    for trailer in (b"", b"+", b"++"):  # every length of padding
        assert is_the_still(asyncio.run(inputs.bitmap(forms_of(pictures.still() + trailer)[form], field="init_image")))


@pytest.mark.parametrize(
    ("source", "rule"),
    [
        ("", "is empty"),
        ("   ", "is empty"),
        ("data:image/png;base64,", "is empty"),
        ("hello, world!", NEITHER),
        ("iVBORw0KG", NEITHER),
        ("iVBO=Rw0", NEITHER),
        ("ünïcödé", NEITHER),
        ("\x00\x00", NEITHER),
        ("\ud800", NEITHER),
        ("//example.com/cat.png", NEITHER),
        ("example.com/cat.png", NEITHER),
        ("../../etc/passwd", NEITHER),
        ("data:image/png,rawdata", NEITHER),
        ("data:image/png;base64", NEITHER),
        ("/etc/passwd0", "is not a PNG, JPEG or WebP picture"),
        ("file:///etc/passwd", "must begin with http:// or https://"),
        ("C:\\cat.png", "must begin with http:// or https://"),
        ("ftp://example.com/cat.png", "must begin with http:// or https://"),
        ("http://169.254.169.254/latest/meta-data", "leads to an address that is not allowed"),
        ("http://example.com:22/", "must not use this port"),
        ("A" * 200_000, "is larger than 0.0954 MB"),
        ("data:image/png;base64," + "A" * 200_000, "is larger than 0.0954 MB"),
        (base64.b64encode(bytes(100_001)).decode(), "is larger than 0.0954 MB"),
        (base64.b64encode(bytes(100_000)).decode(), "is not a PNG, JPEG or WebP picture"),
        (base64.b64encode(pictures.still()[:500]).decode(), "is damaged or cut short"),
        (base64.b64encode(pictures.animated("WEBP")).decode(), "is animated; send a still picture"),
        (
            base64.b64encode(pictures.png(1, 1, depth=8, colour=2, rows=b"")).decode(),
            "must be at least 16 pixels wide and high, not 1x1",
        ),
    ],
)
def test_sentences(inputs: Inputs, source: str, rule: str) -> None:
    assert refusal(inputs, source) == rule
    assert refusal(inputs, source, field="mask_image") == rule


@pytest.mark.parametrize("name", pictures.NOT_PICTURES)
def test_other_formats_are_refused_by_name(inputs: Inputs, name: str) -> None:
    source = base64.b64encode(pictures.NOT_PICTURES[name]).decode()
    assert refusal(inputs, source) == f"is {name}; send a PNG, JPEG or WebP picture"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_picture_by_address_whatever_it_is_called(inputs: Inputs, kind: str) -> None:
    async def story() -> Bitmap:
        async with receiver(answer(pictures.still(kind), content_type="text/html")) as here:
            return await inputs.bitmap(f" {here.url}/picture.gif\n", field="init_image")

    assert asyncio.run(story()).width == 48


@pytest.mark.parametrize(
    ("body", "status", "rule"),
    [
        (b"<!doctype html><p>Not here</p>", 200, "is an HTML page; send a PNG, JPEG or WebP picture"),
        (b"", 200, "is empty"),
        (pictures.still(), 404, "was answered with status 404"),
        (bytes(100_001), 200, "is larger than 0.0954 MB"),
        (pictures.one_bit_bomb(), 200, "must have at most 1000000 pixels"),
    ],
)
def test_sentences_for_addresses(inputs: Inputs, body: bytes, status: int, rule: str) -> None:
    async def story() -> str:
        async with receiver(answer(body, status)) as here:
            with pytest.raises(Invalid) as caught:
                await inputs.bitmap(here.url, field="init_image")
        return caught.value.rule

    assert asyncio.run(story()) == rule


def test_a_mask_is_grey(inputs: Inputs) -> None:
    source = base64.b64encode(pictures.still()).decode()
    bitmap = asyncio.run(inputs.bitmap(source, field="mask_image", mode="L"))
    with Image.open(BytesIO(bitmap.png)) as picture:
        assert picture.mode == "L"


def test_raw_bytes_pass_the_same_checks(inputs: Inputs) -> None:
    assert is_the_still(asyncio.run(inputs.decoded(pictures.still())))
    with pytest.raises(Invalid, match="image is larger than"):
        asyncio.run(inputs.decoded(bytes(100_001)))


def test_our_own_addresses_are_read_by_name_not_by_network(tmp_path: Path) -> None:
    asked: list[str] = []

    async def own_asset(name: str) -> bytes:
        asked.append(name)
        if name != "3f-0.png":
            raise NotFound
        return pictures.still()

    inputs = opened(tmp_path, own_asset, public_url="http://127.0.0.1:8000")
    base = "http://127.0.0.1:8000"
    try:
        for path in (
            "/generations/3f-0.png",
            "/temp/3f-0.png",
            "/generations/3f-0.base64",
            "/uploads/3f-0.png?x=1#y",
        ):
            assert is_the_still(asyncio.run(inputs.bitmap(base + path, field="init_image")))
        assert asked == ["3f-0.png"] * 4
        assert refusal(inputs, f"{base}/generations/other.png") == "was answered with status 404"
        for path in (
            "/",
            "/healthz",
            "/generations/",
            "/generations/../api",
            "/api/v3/fetch/1",
        ):
            assert refusal(inputs, base + path) in ("leads to an address that is not allowed", "must not use this port")
        assert asked[4:] == ["other.png"]
    finally:
        inputs.close()


def test_our_own_addresses_are_known_by_any_name_of_this_server(tmp_path: Path) -> None:
    """And a stranger's picture is fetched, or refused, as ever: a name that is not ours opens nothing."""

    async def own_asset(name: str) -> bytes:
        if name != "3f-0.png":
            raise NotFound
        return pictures.still()

    inputs = opened(tmp_path, own_asset, public_url="https://images.example.org/safelight", port=8123)
    try:
        for base in (
            "https://images.example.org/safelight",
            "HTTP://LOCALHOST:8123",
            "http://127.0.0.1:8123",
            "http://[::1]:8123/",
            "http://192.168.1.20:8123",
            "http://nas.local:8123",
        ):
            assert is_the_still(asyncio.run(inputs.bitmap(f"{base}/generations/3f-0.png", field="init_image"))), base
        for base in ("https://images.example.org/safelight", "http://localhost:8123", "http://[::1]:8123"):
            assert refusal(inputs, f"{base}/temp/other.png") == "was answered with status 404"
        assert refusal(inputs, "http://10.0.0.1/temp/other.png") == "leads to an address that is not allowed"
        assert refusal(inputs, "http://localhost:8124/temp/other.png") == "must not use this port"
        assert refusal(inputs, "http://user@localhost:8123/temp/3f-0.png") == "must not hold a user name or password"
        assert refusal(inputs, "file:///generations/3f-0.png") == "must begin with http:// or https://"
    finally:
        inputs.close()


def test_without_a_reader_our_own_addresses_are_strangers(tmp_path: Path) -> None:
    inputs = opened(tmp_path, public_url="http://127.0.0.1:8080")
    assert refusal(inputs, "http://127.0.0.1:8080/generations/x.png") == "leads to an address that is not allowed"


def test_a_webhook_is_checked_by_its_look(inputs: Inputs) -> None:
    inputs.check_address("https://example.com/hook?x=1", field="webhook")
    inputs.check_address("http://127.0.0.1:5000/", field="webhook")
    with pytest.raises(Unfetchable, match="webhook must not use this port"):
        inputs.check_address("http://example.com:25/", field="webhook")
    with pytest.raises(Unfetchable, match="webhook must begin with http:// or https://"):
        inputs.check_address("example.com", field="webhook")


def test_no_sentence_tells_an_address_a_path_or_a_library(inputs: Inputs, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "CANARY 10.1.2.3 /etc/resolv.conf")

    monkeypatch.setattr(socket, "getaddrinfo", failing)
    assert refusal(inputs, "http://nowhere.test/x.png") == "names a host that cannot be found"
