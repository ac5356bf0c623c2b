"""What a file that is no picture is, by its first bytes alone: sound, video or 3D, and in which format.

Knows neither accounts nor storage. What a caller calls a file, or its data URI claims, decides nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Medium = Literal["image", "video", "voice", "3d"]  # the words of the wire
Test = Callable[[bytes], object]

_LONGEST_HEAD = 65_536  # bytes that a text format is recognised by
_STL_HEAD, _STL_FACET = 84, 50
_OBJ_LINE = re.compile(
    rb"#|(v|vt|vn|vp|f|l|p|o|g|s|mtllib|usemtl|usemap|maplib|shadow_obj|cstype|deg|parm|curv|surf|end)\b"
)


@dataclass(frozen=True, slots=True)
class Format:
    suffix: str
    media_type: str
    medium: Medium
    fits: Test

    @property
    def inert(self) -> bool:
        """A browser plays it, and takes it for nothing else."""
        return self.medium != "3d"


def recognised(data: bytes, medium: Medium) -> Format | None:
    """The format of that medium that the content has. A container of both sound and video is whichever it was sent as."""
    return next((one for one in FORMATS if one.medium == medium and one.fits(data)), None)


def format_named(name: str) -> Format:
    """Of a file of ours, by the suffix that it was given when its content was recognised."""
    return _BY_SUFFIX.get(name.rpartition(".")[2], PNG)


def names_of(medium: Medium) -> str:
    return ", ".join(one.suffix[1:].upper() for one in FORMATS if one.medium == medium)


def _begins(pattern: bytes) -> Test:
    return re.compile(pattern, re.DOTALL).match


def _is_stl(data: bytes) -> bool:
    """In text, or in binary: then its length follows from the number of its triangles."""
    if re.match(rb"solid\b[^\n]*\n\s*(facet\s+normal|endsolid)\b", data[:_LONGEST_HEAD]):
        return True
    facets = int.from_bytes(data[_STL_HEAD - 4 : _STL_HEAD], "little")
    return facets > 0 and len(data) == _STL_HEAD + facets * _STL_FACET


def _is_obj(data: bytes) -> bool:
    """It has no signature: every line begins with a word of the format, and there is a vertex."""
    lines = [line.strip() for line in data[:_LONGEST_HEAD].splitlines()]
    whole = lines if len(data) <= _LONGEST_HEAD else lines[:-1]
    return all(not line or _OBJ_LINE.match(line) for line in whole) and any(line.startswith(b"v ") for line in whole)


_MP4 = _begins(rb".{4}ftyp(?!avi[fs]|hei|hev|mif|msf|qt  )")
PNG = Format(".png", "image/png", "image", _begins(rb"\x89PNG\r\n\x1a\n"))
FORMATS = (
    PNG,
    Format(".mp4", "video/mp4", "video", _MP4),
    Format(".mov", "video/quicktime", "video", _begins(rb".{4}ftypqt  ")),
    Format(".webm", "video/webm", "video", _begins(rb"\x1a\x45\xdf\xa3.{0,64}\x42\x82.{1,8}?webm")),
    Format(".mkv", "video/matroska", "video", _begins(rb"\x1a\x45\xdf\xa3.{0,64}\x42\x82.{1,8}?matroska")),
    Format(".avi", "video/vnd.avi", "video", _begins(rb"RIFF.{4}AVI ")),
    Format(".wav", "audio/wav", "voice", _begins(rb"RIFF.{4}WAVE")),
    Format(".mp3", "audio/mpeg", "voice", _begins(rb"ID3[\x02-\x04]|\xff[\xe2\xe3\xf2\xf3\xfa\xfb]")),
    Format(".flac", "audio/flac", "voice", _begins(rb"fLaC")),
    Format(".ogg", "audio/ogg", "voice", _begins(rb"OggS\0")),
    Format(".aac", "audio/aac", "voice", _begins(rb"\xff[\xf0\xf1\xf8\xf9]")),
    Format(".m4a", "audio/mp4", "voice", _MP4),
    Format(".weba", "audio/webm", "voice", _begins(rb"\x1a\x45\xdf\xa3.{0,64}\x42\x82.{1,8}?webm")),
    Format(".glb", "model/gltf-binary", "3d", _begins(rb"glTF[\1\2]\0\0\0")),
    Format(".ply", "model/ply", "3d", _begins(rb"ply\r?\n(comment[^\n]*\n)*format (ascii|binary)")),
    Format(".stl", "model/stl", "3d", _is_stl),
    Format(".obj", "model/obj", "3d", _is_obj),
)
_BY_SUFFIX = {one.suffix[1:]: one for one in FORMATS}
