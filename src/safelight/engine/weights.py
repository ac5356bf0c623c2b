"""Reads safetensors files and small JSON files that nobody has vouched for.

A file is judged by its header and never by its suffix: sizes, types and offsets are checked against the file itself
before a tensor is touched. Knows nothing of models.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from safelight.errors import EngineFailed

Config = dict[str, Any]
Weights = dict[str, Tensor]
Wanted = Callable[[str], bool]

MAX_HEADER_BYTES = 10 * 1024 * 1024
MAX_CONFIG_BYTES = 1024 * 1024
MAX_TENSORS = 20_000
BITS = {
    "F64": 64, "F32": 32, "F16": 16, "BF16": 16, "F8_E4M3": 8, "F8_E5M2": 8,
    "I64": 64, "I32": 32, "I16": 16, "I8": 8, "U8": 8, "BOOL": 8,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """One tensor of a safetensors header."""

    dtype: str
    shape: tuple[int, ...]
    span: tuple[int, int]  # begin and end in the data that follows the header

    @property
    def elements(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class Header:
    """What a safetensors file says it holds, checked against the file itself."""

    tensors: Mapping[str, TensorEntry]
    metadata: Mapping[str, str]


def read_header(path: Path) -> Header:
    """Parse and check the header of a safetensors file without reading its tensors."""
    with path.open("rb") as file:
        prefix = file.read(8)
        size = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else 0
        if not 2 <= size <= MAX_HEADER_BYTES:
            raise EngineFailed(f"{path.name} is not a safetensors file: its header is missing or too long")
        raw = file.read(size)
    entries = _parse_json(raw, path.name)
    metadata = entries.pop("__metadata__", {})
    if len(entries) > MAX_TENSORS:
        raise EngineFailed(f"{path.name} lists {len(entries)} tensors; at most {MAX_TENSORS} are accepted")
    tensors = {name: _entry(path.name, name, entry) for name, entry in entries.items()}
    _check_spans(path.name, tensors, path.stat().st_size - 8 - size)
    return Header(tensors, metadata if isinstance(metadata, dict) else {})


def _entry(file: str, name: str, entry: Any) -> TensorEntry:
    try:
        dtype, shape, (begin, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
        whole = all(type(number) is int and number >= 0 for number in (*shape, begin, end))
        fits = whole and end - begin == math.prod(shape) * BITS[dtype] // 8
    except (KeyError, TypeError, ValueError):
        fits = False
    if not fits:
        raise EngineFailed(f"{file} is not a safe checkpoint: the entry of one tensor is malformed ({name[:80]!r})")
    return TensorEntry(dtype, shape, (begin, end))


def _check_spans(file: str, tensors: Mapping[str, TensorEntry], data_bytes: int) -> None:
    """The tensors must tile the data exactly: no gap to hide bytes in, no overlap, nothing behind the end."""
    position = 0
    for begin, end in sorted(entry.span for entry in tensors.values()):
        if begin != position:
            raise EngineFailed(f"{file} is not a safe checkpoint: its tensors overlap or leave gaps")
        position = end
    if position != data_bytes:
        raise EngineFailed(f"{file} is truncated or has bytes that no tensor owns")


def read_tensors(path: Path, wanted: Wanted = lambda _: True) -> Weights:
    """The wanted tensors of a safetensors file, copied into memory so that the file may change afterwards."""
    names = [name for name in read_header(path).tensors if wanted(name)]
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name).clone() for name in names}
    except SafetensorError as error:
        raise EngineFailed(f"{path.name} is not a safetensors file") from error


def outlined_tensors(path: Path, wanted: Wanted = lambda _: True) -> Weights:
    """The same names and shapes as ``read_tensors`` gives, of tensors that hold nothing."""
    return outlined(read_header(path), wanted)


def outlined(header: Header, wanted: Wanted) -> Weights:
    entries = header.tensors.items()
    return {name: torch.empty(entry.shape, device="meta") for name, entry in entries if wanted(name)}


class ReadTensors(Protocol):
    """A way to the tensors of a file."""

    def __call__(self, path: Path, wanted: Wanted = ...) -> Weights: ...


def read_config(path: Path) -> Config:
    """A small JSON object from a file."""
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise EngineFailed(f"{path.name} is too large for a configuration")
        return _parse_json(path.read_bytes(), path.name)
    except OSError as error:
        raise EngineFailed(f"The checkpoint lacks {path.parent.name}/{path.name}") from error


def _parse_json(raw: bytes, name: str) -> Config:
    try:
        parsed = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise EngineFailed(f"{name} does not hold valid JSON") from error
    if not isinstance(parsed, dict):
        raise EngineFailed(f"{name} does not hold a JSON object")
    return parsed
