"""The tensors of a checkpoint's single file, in whichever container it comes: safetensors or GGUF, told by its first bytes."""

from __future__ import annotations

from pathlib import Path

from safelight.engine import gguf_file, weights
from safelight.engine.gguf_file import is_gguf
from safelight.engine.weights import Header, Wanted, Weights, outlined


def read_header(path: Path) -> Header:
    return gguf_file.read_header(path) if is_gguf(path) else weights.read_header(path)


def read_tensors(path: Path, wanted: Wanted = lambda _: True) -> Weights:
    return gguf_file.read_tensors(path, wanted) if is_gguf(path) else weights.read_tensors(path, wanted)


def outlined_tensors(path: Path, wanted: Wanted = lambda _: True) -> Weights:
    return outlined(read_header(path), wanted)
