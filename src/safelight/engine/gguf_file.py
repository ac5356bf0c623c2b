"""Reads GGUF files, as transformers are handed round in 2 to 8 bits. Optional: ``pip install 'safelight[gguf]'``.

A header is checked against the file itself as that of a safetensors file is; the package ``gguf`` knows what its types of
numbers weigh and makes them whole. Knows nothing of models.
"""

from __future__ import annotations

import importlib.util
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from safelight.engine.weights import MAX_HEADER_BYTES, MAX_TENSORS, Header, TensorEntry, Wanted, Weights
from safelight.errors import EngineFailed

MAGIC = b"GGUF"
VERSIONS = (2, 3)
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
TEXT, ARRAY = 8, 9
PLAIN = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
SHAPE = "comfy.gguf.orig_shape."  # before the name of a tensor that was laid out otherwise to be packed
MALFORMED = (struct.error, LookupError, ValueError, TypeError, ArithmeticError, RecursionError)


def is_gguf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def read_header(path: Path) -> Header:
    """Its tensors' spans are counted from the beginning of the file."""
    package, size = _package(), path.stat().st_size
    with path.open("rb") as file:
        cursor = _Cursor(file.read(MAX_HEADER_BYTES))
    try:
        return _header(cursor, size, package)
    except MALFORMED as error:
        raise EngineFailed(f"{path.name} is not a safe GGUF file: its header is malformed or too long") from error


def read_tensors(path: Path, wanted: Wanted = lambda _: True) -> Weights:
    """The wanted tensors, copied into memory; those in few bits are made whole in float16, as fine as their scales are."""
    package, entries = _package(), read_header(path).tensors
    with path.open("rb") as file:

        def tensor(entry: TensorEntry) -> Tensor:
            begin, end = entry.span
            file.seek(begin)
            return _whole(np.frombuffer(file.read(end - begin), np.uint8), entry, package)

        try:
            return {name: tensor(entry) for name, entry in entries.items() if wanted(name)}
        except NotImplementedError as error:
            raise EngineFailed(f"{path.name} has weights of a type that the package gguf cannot make whole") from error


class _Cursor:
    """Walks over the beginning of a file, and never behind it."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self.at = 0

    def take(self, kind: str) -> Any:
        (value,) = struct.unpack_from(f"<{kind}", self._raw, self.at)
        self.at += struct.calcsize(f"<{kind}")
        return value

    def text(self) -> str:
        size: int = self.take("Q")
        return str(self.take(f"{min(size, MAX_HEADER_BYTES)}s"), "utf-8")

    def value(self, kind: int) -> Any:
        if kind == TEXT:
            return self.text()
        if kind == ARRAY:
            inner, count = self.take("I"), self.take("Q")
            return [self.value(inner) for _ in range(count)]
        return self.take(SCALARS[kind])


def _header(cursor: _Cursor, file_size: int, package: Any) -> Header:
    cursor.take("4s")
    version, count, pairs = cursor.take("I"), cursor.take("Q"), cursor.take("Q")
    if version not in VERSIONS or count > MAX_TENSORS:
        raise ValueError("of another version, or of too many tensors")
    told = {cursor.text(): cursor.value(cursor.take("I")) for _ in range(pairs)}
    listed = [_listed(cursor) for _ in range(count)]
    step = int(told.get("general.alignment", 32))
    begin = _aligned(cursor.at, step)
    tensors = {
        name: _entry(shape, kind, begin + at, told.get(f"{SHAPE}{name}"), package) for name, shape, kind, at in listed
    }
    _check_spans([tensors[name].span for name, *_ in listed], begin, file_size, step)
    return Header(tensors, {name: value for name, value in told.items() if isinstance(value, str)})


def _listed(cursor: _Cursor) -> tuple[str, tuple[int, ...], int, int]:
    """Name, shape, type and place of a tensor. Its innermost side is named first."""
    name, sides = cursor.text(), cursor.take("I")
    shape = tuple(cursor.take("Q") for _ in range(sides))
    return name, shape[::-1], cursor.take("I"), cursor.take("Q")


def _entry(shape: tuple[int, ...], kind: int, begin: int, first: list[int] | None, package: Any) -> TensorEntry:
    known = package.GGMLQuantizationType(kind)
    numbers, weight = package.GGML_QUANT_SIZES[known]
    blocks, rest = divmod(math.prod(shape), numbers)
    if rest or (first and (math.prod(first) != math.prod(shape) or min(first) < 0)):
        raise ValueError("a tensor's shape is not that of its numbers")
    return TensorEntry(known.name, tuple(first or shape), (begin, begin + blocks * weight))


def _check_spans(spans: list[tuple[int, int]], begin: int, file_size: int, step: int) -> None:
    """The tensors must tile the file but for what brings each to its place: no overlap, nothing behind the end."""
    position = begin
    for start, end in sorted(spans):
        if start != position:
            raise ValueError("tensors overlap or leave gaps")
        position = _aligned(end, step)
    if not max((end for _, end in spans), default=begin) <= file_size <= position:
        raise ValueError("truncated, or bytes that no tensor owns")


def _aligned(place: int, step: int) -> int:
    return place + -place % step


def _whole(raw: np.ndarray[Any, Any], entry: TensorEntry, package: Any) -> Tensor:
    if entry.dtype in PLAIN:
        return torch.from_numpy(raw.copy()).view(PLAIN[entry.dtype]).reshape(entry.shape)
    known = package.GGMLQuantizationType[entry.dtype]
    numbers = package.dequantize(raw.reshape(1, -1), known)
    return torch.from_numpy(numbers).to(torch.float16).reshape(entry.shape)


def _package() -> Any:
    if importlib.util.find_spec("gguf") is None:
        raise EngineFailed("A GGUF file is read with a package that is not here: pip install 'safelight[gguf]'")
    import gguf

    return gguf
