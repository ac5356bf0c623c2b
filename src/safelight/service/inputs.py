"""Pictures that callers give, by address, data URI or base64, made into Bitmaps that have passed every check.

Decides where the bytes come from and how many there may be; ``outbound`` fetches, ``darkroom`` decodes. Knows nothing
of jobs or accounts: an address of our own server is read as anyone could read it, by its unguessable name.
"""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Awaitable, Callable
from typing import Literal
from urllib.parse import unquote, urlsplit

from safelight.errors import Invalid, NotFound, Unfetchable
from safelight.records import Bitmap
from safelight.service.darkroom import Darkroom
from safelight.service.media import Format, Medium, names_of, recognised
from safelight.service.outbound import Outbound, megabytes
from safelight.settings import Settings

Mode = Literal["RGB", "L", "A"]  # "A": what is transparent, as a mask
OwnAsset = Callable[[str], Awaitable[bytes]]  # a picture of ours by its public name; raises NotFound

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_DATA_URI = re.compile(r"data:[^,]{0,500}base64,", re.IGNORECASE)
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_OWN_ADDRESS = re.compile(
    r"https?://[^/?#@]+(?:/[^?#]*)?/(?:generations|uploads|temp)/([^/?#]+?)(?:\.base64)?(?:[?#].*)?", re.IGNORECASE
)
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_LONGEST_ADDRESS = 4096


class Inputs:
    """Every failure is an Invalid (Unfetchable where an address is at fault) that names the field and the rule."""

    def __init__(self, settings: Settings, outbound: Outbound, own_asset: OwnAsset | None = None) -> None:
        self._settings = settings
        self._outbound = outbound
        self._own_asset = own_asset
        self._darkroom = Darkroom(
            max_pixels=settings.max_image_pixels,
            min_side=settings.min_image_side,
            cpu_seconds=settings.decode_seconds,
        )

    async def bitmap(self, source: str, *, field: str, mode: Mode = "RGB", payer: int = 0) -> Bitmap:
        """The picture that ``source`` names or holds: an http(s) URL, a data URI or base64. One payer's fetches take turns."""
        return await self.decoded(await self._bytes(source.strip(), field, payer), field=field, mode=mode)

    async def file(self, source: str, *, field: str, medium: Medium, payer: int = 0) -> tuple[bytes, Format]:
        """Sound, video or 3D as it was sent; its first bytes say what it is, and nothing of it is run."""
        data = await self._bytes(source.strip(), field, payer)
        self._fits(len(data), field)
        if (its := recognised(data, medium)) is None:
            raise Invalid(field, f"is no {medium} file of a known format ({names_of(medium)})")
        return data, its

    async def decoded(self, data: bytes, *, field: str = "image", mode: Mode = "RGB") -> Bitmap:
        """The picture in ``data``, as a file of any supported format holds it."""
        self._fits(len(data), field)
        rule = _wrong_kind(data)
        if rule:
            raise Invalid(field, rule)
        try:
            return await self._darkroom.develop(data, mode)
        except Invalid as invalid:
            raise Invalid(field, invalid.rule) from None

    def check_address(self, address: str, *, field: str) -> None:
        """The rules for an address to be called later, such as a webhook: raises Unfetchable, asks no network."""
        self._outbound.check(address, field=field)

    def close(self) -> None:
        """Ends the decoding program."""
        self._darkroom.close()

    async def _bytes(self, source: str, field: str, payer: int) -> bytes:
        data_uri = _DATA_URI.match(source)
        if data_uri:
            return await self._unpacked(source[data_uri.end() :], field)
        if _SCHEME.match(source) and source[:5].lower() != "data:":
            return await self._fetched(source, field, payer)
        return await self._unpacked(source, field)

    async def _fetched(self, address: str, field: str, payer: int) -> bytes:
        """What bears the name of a picture of ours is ours, by whatever name of this server; only a stranger's is fetched."""
        own = _own_name(address)
        if self._own_asset is not None and own is not None:
            try:
                return await self._own_asset(own)
            except NotFound:
                if self._is_here(address):
                    raise Unfetchable(field, "was answered with status 404") from None
        limits = self._settings
        return await self._outbound.fetch(
            address, field=field, limit=limits.max_image_bytes, seconds=limits.fetch_seconds, payer=payer
        )

    def _is_here(self, address: str) -> bool:
        """Certainly: under the public address, or on our port of this machine."""
        parts, port = urlsplit(address), self._settings.port
        here = {urlsplit(self._settings.base_url).netloc, *(f"{name}:{port}" for name in _LOOPBACK)}
        return parts.netloc.lower() in here

    async def _unpacked(self, text: str, field: str) -> bytes:
        self._fits(len(text) * 3 // 5, field)  # with room for line breaks; the exact size is checked once it is known
        try:
            data = await asyncio.to_thread(_from_base64, text)
        except ValueError:
            raise Invalid(field, "must be an http(s) address, a data URI with base64, or base64") from None
        if not data:
            raise Invalid(field, "is empty")
        return data

    def _fits(self, size: int, field: str) -> None:
        limit = self._settings.max_image_bytes
        if size > limit:
            raise Invalid(field, f"is larger than {megabytes(limit)} MB")


def _own_name(address: str) -> str | None:
    """The name of the picture of ours that an address could stand for."""
    if len(address) > _LONGEST_ADDRESS or not (path := _OWN_ADDRESS.fullmatch(address)):
        return None
    name = unquote(path[1])
    return name if "." in name else f"{name}.png"


def _from_base64(text: str) -> bytes:
    """White space, the URL-safe alphabet, percent signs and missing padding are forgiven; anything else is not."""
    plain = unquote(text) if "%" in text else text
    packed = b"".join(plain.encode("ascii").split()).translate(_URL_SAFE).rstrip(b"=")
    return base64.b64decode(packed + b"=" * (-len(packed) % 4), validate=True)


def _wrong_kind(data: bytes) -> str | None:
    """The rule that the first bytes break already; None if they begin like a PNG, JPEG or WebP."""
    if data.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")) or (data[:4] == b"RIFF" and data[8:12] == b"WEBP"):
        return None
    if not data:
        return "is empty"
    name = next((name for name, begins in _OTHER_KINDS.items() if begins.match(data[:1024])), None)
    return f"is {name}; send a PNG, JPEG or WebP picture" if name else "is not a PNG, JPEG or WebP picture"


_OTHER_KINDS = {
    "a GIF": re.compile(rb"GIF8"),
    "a BMP": re.compile(rb"BM.{4}\0\0\0\0", re.DOTALL),
    "a TIFF": re.compile(rb"II[*+]\0|MM\0[*+]"),
    "an AVIF": re.compile(rb".{4}ftypavi[fs]", re.DOTALL),
    "a HEIC": re.compile(rb".{4}ftyp(hei|hev|mif|msf)", re.DOTALL),
    "an icon file": re.compile(rb"\0\0[\1\2]\0"),
    "a PSD": re.compile(rb"8BPS"),
    "a JPEG 2000": re.compile(rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51"),
    "a JPEG XL": re.compile(rb"\xff\x0a|\0\0\0\x0cJXL "),
    "a PDF": re.compile(rb"%PDF"),
    "a PostScript file": re.compile(rb"%!PS|\xc5\xd0\xd3\xc6"),
    "an SVG": re.compile(
        rb"(\xef\xbb\xbf)?\s*(<\?xml[^>]{0,200}>\s*)?(<!--.{0,500}?-->\s*)?(<!DOCTYPE svg[^>]{0,300}>\s*)?<svg\b",
        re.DOTALL,
    ),
    "an HTML page": re.compile(
        rb"(\xef\xbb\xbf)?\s*(<!--.{0,500}?-->\s*)?<(!doctype html|html|head|body)\b", re.DOTALL | re.IGNORECASE
    ),
}
