"""Odd pictures, made on the spot: every mode, every lie in a header, every bomb that a stranger may send."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

import numpy as np
from PIL import Image

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack("!I", len(body)) + kind + body + struct.pack("!I", zlib.crc32(kind + body))


def png(width: int, height: int, *, depth: int, colour: int, rows: bytes, extra: bytes = b"") -> bytes:
    """A PNG written by hand; ``rows`` are the raw scan lines without their filter bytes, or b"" for black."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    stride = (width * channels * depth + 7) // 8
    packer = zlib.compressobj(9)
    lines = [rows[start : start + stride] for start in range(0, len(rows), stride)] or [bytes(stride)] * height
    packed = b"".join(packer.compress(b"\0" + line) for line in lines) + packer.flush()
    header = struct.pack("!IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return SIGNATURE + chunk(b"IHDR", header) + extra + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def saved(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def speckled(width: int = 48, height: int = 32, seed: int = 0) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Height x width x 3 of noise, so that every turn and every shift shows."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def still(kind: str = "PNG", **options: object) -> bytes:
    return saved(Image.fromarray(speckled()), kind, **options)


def animated(kind: str) -> bytes:
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "green", "blue")]
    return saved(frames[0], kind, save_all=True, append_images=frames[1:], duration=100)


def two_views() -> bytes:
    """A JPEG as a stereo camera or a phone writes it: a second picture behind the first (MPO)."""
    views = [Image.new("RGB", (32, 32), colour) for colour in ("red", "blue")]
    return saved(views[0], "MPO", save_all=True, append_images=views[1:], quality=95)


def stored_as(upright: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], orientation: int) -> Image.Image:
    """How a camera held at ``orientation`` would have written ``upright``, by the definitions of EXIF 2.3, table 6."""
    swapped = upright.transpose(1, 0, 2)
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: swapped,
        6: swapped[::-1],
        7: swapped[::-1, ::-1],
        8: swapped[:, ::-1],
    }[orientation]
    return Image.fromarray(np.ascontiguousarray(stored))


def exif(orientation: int) -> bytes:
    block = Image.Exif()
    block[0x0112] = orientation
    block[0x010E] = "CANARY-description"
    return block.tobytes()


def swapped_profile() -> bytes:
    """An ICC profile in which red and blue have changed places; what it calls red is blue in sRGB."""
    red, green, blue = (0.4360, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141)
    curve = b"curv" + bytes(4) + struct.pack("!IH", 1, round(2.2 * 256)) + bytes(2)
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack("!I", 8) + b"swapped\0" + bytes(78),
        b"wtpt": _xyz(0.9642, 1.0, 0.8249),
        b"rXYZ": _xyz(*blue),
        b"gXYZ": _xyz(*green),
        b"bXYZ": _xyz(*red),
        b"rTRC": curve,
        b"gTRC": curve,
        b"bTRC": curve,
    }
    place, table, bodies = 128 + 4 + 12 * len(tags), struct.pack("!I", len(tags)), b""
    for name, body in tags.items():
        padded = body + bytes(-len(body) % 4)
        table += name + struct.pack("!II", place + len(bodies), len(body))
        bodies += padded
    header = struct.pack("!I4sI4s4s4s", place + len(bodies), bytes(4), 0x02100000, b"mntr", b"RGB ", b"XYZ ")
    header += bytes(12) + b"acsp" + bytes(28) + struct.pack("!3i", 63190, 65536, 54061) + bytes(48)
    return header + table + bodies


def _xyz(x: float, y: float, z: float) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack("!3i", *(round(value * 65536) for value in (x, y, z)))


def one_bit_bomb(side: int = 20_000) -> bytes:
    """Some kilobytes that want to be 400 million pixels."""
    return png(side, side, depth=1, colour=0, rows=b"")


def text_bomb(kind: bytes) -> bytes:
    """A small picture with 64 MB of nothing in a compressed text (``zTXt``) or profile (``iCCP``) chunk."""
    return png(32, 32, depth=8, colour=2, rows=b"", extra=chunk(kind, b"name\0\0" + zlib.compress(bytes(2**26), 9)))


def many_chunks(count: int = 50_000) -> bytes:
    return png(32, 32, depth=8, colour=2, rows=b"", extra=chunk(b"teSt", b"") * count)


def many_scans(count: int = 10_000) -> bytes:
    """A progressive JPEG whose last scan comes again and again: some kilobytes, many seconds."""
    data = saved(Image.new("RGB", (1000, 1000)), "JPEG", progressive=True)
    end = data.rindex(b"\xff\xd9")
    return data[:end] + data[data.rindex(b"\xff\xda") : end] * count + b"\xff\xd9"


def zipped_behind() -> bytes:
    return still() + b"PK\x05\x06" + bytes(18) + b"CANARY-trailer"


NOT_PICTURES = {
    "a GIF": saved(Image.new("P", (32, 32)), "GIF"),
    "a BMP": saved(Image.new("RGB", (32, 32)), "BMP"),
    "a TIFF": saved(Image.new("F", (32, 32)), "TIFF"),
    "an icon file": saved(Image.new("RGB", (32, 32)), "ICO"),
    "a PDF": saved(Image.new("RGB", (32, 32)), "PDF"),
    "a PostScript file": saved(Image.new("RGB", (32, 32)), "EPS"),
    "an SVG": b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
    "an HTML page": b"\n<!DOCTYPE html><html><body>404</body></html>",
    "an AVIF": b"\0\0\0\x20ftypavif" + bytes(64),
    "a HEIC": b"\0\0\0\x18ftypheic" + bytes(64),
    "a PSD": b"8BPS\0\1" + bytes(64),
    "a JPEG 2000": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(64),
    "a JPEG XL": b"\xff\x0a" + bytes(64),
}
