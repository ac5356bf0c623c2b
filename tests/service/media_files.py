"""The smallest files of each format that is taken: sound by the standard library, the rest spelt out from the formats' own pages."""

from __future__ import annotations

import io
import struct
import wave


def _wav() -> bytes:
    kept = io.BytesIO()
    with wave.open(kept, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8_000)
        file.writeframes(bytes(160))
    return kept.getvalue()


def _box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", 8 + len(body)) + kind + body


def _ebml(document: bytes) -> bytes:
    """Version, read version, lengths, document type: the header that every Matroska file begins with."""
    head = bytes.fromhex("4286810142f7810142f2810442f38108") + b"\x42\x82" + bytes([0x80 | len(document)]) + document
    return b"\x1a\x45\xdf\xa3" + bytes([0x80 | len(head)]) + head


OBJ = b"# a triangle\nv 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"
FILES = {
    ".mp4": _box(b"ftyp", b"isom\0\0\2\0isomiso2") + _box(b"mdat", b""),
    ".mov": _box(b"ftyp", b"qt  \0\0\2\0qt  "),
    ".webm": _ebml(b"webm"),
    ".mkv": _ebml(b"matroska"),
    ".avi": b"RIFF" + struct.pack("<I", 4) + b"AVI ",
    ".wav": _wav(),
    ".mp3": b"\xff\xfb\x90\x64" + bytes(413),
    ".flac": b"fLaC\x80\0\0\x22" + bytes(34),
    ".ogg": b"OggS\0\2" + bytes(22),
    ".aac": b"\xff\xf1\x50\x80\x01\x7f\xfc",
    ".m4a": _box(b"ftyp", b"M4A \0\0\2\0M4A isom"),
    ".weba": _ebml(b"webm"),
    ".glb": b"glTF" + struct.pack("<III", 2, 32, 12) + b"JSON" + b'{"asset":{}}',
    ".ply": b"ply\nformat ascii 1.0\nelement vertex 0\nend_header\n",
    ".stl": bytes(80) + struct.pack("<I", 1) + bytes(50),
    ".obj": OBJ,
}
