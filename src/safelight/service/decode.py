"""The decoding program: a warm process that forks one limited child per picture, and what that child does with it.

Nothing imports this file. ``darkroom`` runs it as a program of its own, so that a picture which crashes a library, or
takes it over, finds no files, no network, no keys and little memory. Knows nothing of fields, accounts or addresses.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import struct
import sys
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageCms

from safelight.errors import Invalid

HEADER = struct.Struct("!cIII")  # b"+", width, height, and how many bytes of PNG follow
_FORMATS = ("PNG", "JPEG", "WEBP")
_BYTES_PER_PIXEL = 40  # the picture in a few modes at once, and the PNG of it
_NOBODY = 65534
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_MODES = {ord("R"): "RGB", ord("L"): "L", ord("A"): "A"}  # "A" is what is transparent, as a mask: there it is white
_GROUND = {"RGB": "white", "L": "black"}  # what shows through: paper behind a picture, "keep this" behind a mask
_HIGH_BYTE = [value >> 8 for value in range(2**16)]
_INVERTED = [255 - value for value in range(256)]
_SRGB = ImageCms.createProfile("sRGB")


@dataclass(frozen=True, slots=True)
class Limits:
    max_pixels: int
    min_side: int
    cpu_seconds: int
    wall_seconds: int


def develop(data: bytes, mode: str, limits: Limits) -> Image.Image:
    """An upright picture of ``mode`` without metadata. Raises Invalid with a rule to show; all else means damaged."""
    with Image.open(BytesIO(data), formats=_FORMATS) as picture:
        _check(picture, limits)
        picture.load()
        turn = _UPRIGHT.get(_orientation(picture))
        profile = picture.info.get("icc_profile")
        flat = _clear(picture) if mode == "A" else _to_srgb(_flatten(picture, _GROUND[mode]), profile)
    upright = flat if turn is None else flat.transpose(turn)
    final = upright if mode == "A" else upright.convert(mode)
    final.info.clear()
    return final


def _check(picture: Image.Image, limits: Limits) -> None:
    width, height = picture.size
    if width * height > limits.max_pixels:
        raise Invalid("", f"must have at most {limits.max_pixels} pixels, not {width}x{height}")
    if min(width, height) < limits.min_side:
        raise Invalid("", f"must be at least {limits.min_side} pixels wide and high, not {width}x{height}")
    if picture.format in _FORMATS and getattr(picture, "n_frames", 1) > 1:  # a JPEG of several views is a "MPO": view 1
        raise Invalid("", "is animated; send a still picture")


def _orientation(picture: Image.Image) -> int:
    try:
        value = picture.getexif().get(_ORIENTATION)
    except (SyntaxError, struct.error, ValueError, TypeError, LookupError, OSError):
        return 1  # a picture whose EXIF block is rubbish is shown as it lies
    return value if isinstance(value, int) else 1


def _flatten(picture: Image.Image, ground: str) -> Image.Image:
    """RGB, L or CMYK: 16 bits become the upper 8, palettes and transparency are resolved."""
    if picture.mode.startswith("I;16"):
        return picture.convert("I").point(_HIGH_BYTE, "L")
    if picture.has_transparency_data:
        paper = Image.new("RGBA", picture.size, ground)
        paper.alpha_composite(picture.convert("RGBA"))
        return paper.convert("RGB")
    return picture if picture.mode in ("RGB", "L", "CMYK") else picture.convert("RGB")


def _clear(picture: Image.Image) -> Image.Image:
    """White where it is transparent, black where it is not."""
    alpha = picture.convert("RGBA").getchannel("A")
    if alpha.getextrema() == (255, 255):
        raise Invalid("", "has no transparent part")
    return alpha.point(_INVERTED)


def _to_srgb(picture: Image.Image, profile: bytes | None) -> Image.Image:
    if not profile:
        return picture
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        if ImageCms.getProfileDescription(source).startswith("sRGB"):
            return picture
        return ImageCms.profileToProfile(picture, source, _SRGB, outputMode="RGB") or picture
    except (ImageCms.PyCMSError, OSError):
        return picture  # a broken profile, or one for other colours than the picture's, says nothing


def _answer(data: bytes, mode: str, limits: Limits) -> bytes:
    try:
        picture = develop(data, mode, limits)
        png = BytesIO()
        picture.save(png, "PNG", compress_level=1)
    except Invalid as invalid:
        return b"-" + invalid.rule.encode()
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        return f"-must have at most {limits.max_pixels} pixels".encode()
    except MemoryError:
        return b"-takes too much memory to decode"
    except Exception:  # noqa: BLE001 (a decoder raises whatever it likes, and its text is not for strangers)
        return b"-is damaged or cut short"
    return HEADER.pack(b"+", *picture.size, png.tell()) + png.getvalue()


def serve(limits: Limits) -> None:
    """One child for each socket that comes in over standard input, until that closes."""
    Image.MAX_IMAGE_PIXELS = limits.max_pixels
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children need no burial
    _warm(limits)
    with socket.socket(fileno=0) as control:
        while True:
            message, descriptors, _, _ = socket.recv_fds(control, 1, 1)
            if not message:
                return
            if os.fork() == 0:
                _child(socket.socket(fileno=descriptors[0]), limits)
            os.close(descriptors[0])


def _child(conversation: socket.socket, limits: Limits) -> None:
    try:
        os.close(0)
        _confine(limits)
        conversation.sendall(b"!")
        request = bytearray()
        while part := conversation.recv(2**20):
            request += part
        conversation.sendall(_answer(bytes(memoryview(request)[1:]), _MODES[request[0]], limits))
    finally:
        os._exit(0)


def _confine(limits: Limits) -> None:
    """No new file, socket or process, no core, so much memory and time, and nobody's rights."""
    signal.alarm(limits.wall_seconds)
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    bounds = {
        resource.RLIMIT_AS: _memory_now() + 2**26 + _BYTES_PER_PIXEL * limits.max_pixels,
        resource.RLIMIT_CPU: limits.cpu_seconds,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NPROC: 0,
        resource.RLIMIT_NOFILE: 0,
    }
    for kind, bound in bounds.items():
        with suppress(ValueError):  # a system may not know a limit (macOS: address space)
            resource.setrlimit(kind, (bound, bound))


def _memory_now() -> int:
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[0]) * resource.getpagesize() if statm.exists() else 2**30


def _warm(limits: Limits) -> None:
    """Every code path once, so that what they import late is here before the child may open nothing."""
    exif = Image.Exif()
    exif[_ORIENTATION] = 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
    side = limits.min_side
    for kind in _FORMATS:
        buffer = BytesIO()
        Image.new("RGB", (side, side)).save(buffer, kind, exif=exif, icc_profile=profile)
        _answer(buffer.getvalue(), "RGB", limits)
        _answer(buffer.getvalue()[:-20], "L", limits)


if __name__ == "__main__":
    serve(Limits(*(int(argument) for argument in sys.argv[1:])))
