"""Pictures as the web UI fits and masks them, and the text that it writes into its PNGs.

Works on Bitmaps that ``inputs`` has already checked, and on our own PNGs; a stranger's PNG is only searched for its text.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterator, Mapping
from io import BytesIO

import numpy as np
from PIL import Image, ImageFilter, ImageOps

from safelight.records import Bitmap

SIGNATURE = b"\x89PNG\r\n\x1a\n"
STRETCH, CROP, FILL = 0, 1, 2  # resize modes; 3, in latent space, is stretched too
FILLED, ORIGINAL, NOISE = 0, 1, 2  # what a masked part starts from; 3, nothing, is grey
RADII = (64, 16, 4)


def fit(bitmap: Bitmap, size: tuple[int, int], mode: int) -> Image.Image:
    """The picture at exactly that size."""
    picture = _open(bitmap)
    if mode == CROP:
        return ImageOps.fit(picture, size, Image.Resampling.LANCZOS)
    if mode == FILL:
        return _fit_and_fill(picture, size)
    return picture.resize(size, Image.Resampling.LANCZOS)


def _fit_and_fill(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Whole, in the middle; what is left is filled from its outermost rows or columns."""
    inner = ImageOps.contain(picture, size, Image.Resampling.LANCZOS)
    left, top = (size[0] - inner.width) // 2, (size[1] - inner.height) // 2
    across = (left, size[0] - inner.width - left)
    along = (top, size[1] - inner.height - top)
    pad = (along, across) if inner.mode == "L" else (along, across, (0, 0))
    return Image.fromarray(np.pad(np.asarray(inner), pad, mode="edge"))


def fit_mask(bitmap: Bitmap, size: tuple[int, int], mode: int, *, invert: bool, blur: float) -> Image.Image:
    mask = fit(bitmap, size, mode)
    mask = ImageOps.invert(mask) if invert else mask
    return mask.filter(ImageFilter.GaussianBlur(blur)) if blur else mask


def start_from(picture: Image.Image, mask: Image.Image, how: int, seed: int) -> Image.Image:
    """What lies under the mask before anything is painted there."""
    if how == ORIGINAL:
        return picture
    if how == FILLED:
        under = _surroundings(picture, mask)
    elif how == NOISE:
        under = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*picture.size[::-1], 3), np.uint8))
    else:
        under = Image.new("RGB", picture.size, "grey")
    return Image.composite(under, picture, mask)


def _surroundings(picture: Image.Image, mask: Image.Image) -> Image.Image:
    """The colours around, drawn inwards: from a wide blur of what is kept to narrower ones near its edge."""
    keep = ImageOps.invert(mask.point(lambda value: 255 if value else 0))
    kept = Image.composite(picture, Image.new("RGB", picture.size), keep)
    under = Image.new("RGB", picture.size, tuple(int(value) for value in np.asarray(picture).mean((0, 1))))
    for radius in RADII:
        weight = np.asarray(keep.filter(ImageFilter.GaussianBlur(radius)), np.float32)[..., None] / 255
        colour = np.asarray(kept.filter(ImageFilter.GaussianBlur(radius)), np.float32) / np.maximum(weight, 1 / 255)
        share = np.clip(weight * 8, 0, 1)
        blended = np.clip(colour, 0, 255) * share + np.asarray(under, np.float32) * (1 - share)
        under = Image.fromarray(blended.astype(np.uint8))
    return under


def to_bitmap(picture: Image.Image) -> Bitmap:
    file = BytesIO()
    picture.save(file, "PNG", compress_level=1)
    png = file.getvalue()
    return Bitmap(png, *picture.size, hashlib.sha256(png).hexdigest())


def to_png(webp: bytes) -> bytes:
    """A preview of ours, for tools that read no WebP."""
    file = BytesIO()
    with Image.open(BytesIO(webp), formats=("WEBP", "PNG")) as picture:
        picture.convert("RGB").save(file, "PNG")
    return file.getvalue()


def with_text(png: bytes, text: str) -> bytes:
    """Our PNG with ``text`` as its parameters, where tools look for it. The stored file has none."""
    name = b"parameters\0"
    latin = all(ord(letter) < 256 for letter in text)
    kind, body = (b"tEXt", name + text.encode("latin-1")) if latin else (b"iTXt", name + b"\0\0\0\0" + text.encode())
    chunk = struct.pack("!I", len(body)) + kind + body + struct.pack("!I", zlib.crc32(kind + body))
    head = len(SIGNATURE) + 25  # IHDR
    return png[:head] + chunk + png[head:]


def texts(png: bytes) -> Mapping[str, str]:
    """Every text that a PNG carries uncompressed, by its keyword; nothing for what is no PNG."""
    return dict(_texts(png)) if png.startswith(SIGNATURE) else {}


def _texts(png: bytes) -> Iterator[tuple[str, str]]:
    at = len(SIGNATURE)
    while at + 8 <= len(png):
        length, kind = struct.unpack_from("!I4s", png, at)
        body, at = png[at + 8 : at + 8 + length], at + 12 + length
        keyword, _, rest = body.partition(b"\0")
        if kind == b"tEXt":
            yield keyword.decode("latin-1"), rest.decode("latin-1")
        elif kind == b"iTXt" and rest[:1] == b"\0":
            yield keyword.decode("latin-1"), rest[2:].split(b"\0", 2)[-1].decode(errors="replace")


def _open(bitmap: Bitmap) -> Image.Image:
    with Image.open(BytesIO(bitmap.png), formats=("PNG",)) as picture:
        picture.load()
        return picture
