"""Transformers in GGUF files, written by the library that everybody writes them with: the pictures of their numbers made whole."""

from __future__ import annotations

import importlib.util
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType as Kind
from safetensors.torch import load_file, save_file
from torch import Tensor

from safelight.engine import gguf_file, weights
from safelight.engine.checkpoint import count_weights
from safelight.engine.containers import read_tensors
from safelight.engine.generation import Generation
from safelight.engine.graphs import Graphs
from safelight.engine.inspection import inspect
from safelight.engine.layouts import LAYOUTS, Layout
from safelight.engine.lone import Lenders
from safelight.engine.model import Model
from safelight.engine.quantised import Bits
from safelight.engine.rows import Rows
from safelight.errors import EngineFailed

from . import flow_checkpoints
from .gallery import alone

FLUX, SD3, QWEN, Z_IMAGE = LAYOUTS
WRITERS: dict[str, tuple[Layout, Callable[[Path], Path]]] = {
    "Flux": (FLUX, flow_checkpoints.write_flux),
    "StableDiffusion3": (SD3, flow_checkpoints.write_sd3),
    "QwenImage": (QWEN, flow_checkpoints.write_qwen),
    "ZImage": (Z_IMAGE, flow_checkpoints.write_z_image),
}
WHOLE = [(13, 7), (5,), (3, 1, 9), (2, 2, 2, 2)]  # shapes that no block fits


def write(path: Path, tensors: dict[str, Tensor], kind: Kind) -> dict[str, Tensor]:
    """As converters do: what a block fits is packed, the rest is kept; what the library makes of the packed ones again."""
    writer, whole = gguf.GGUFWriter(path, "any"), {}
    for name, tensor in tensors.items():
        numbers = tensor.float().numpy()
        fits = tensor.ndim == 2 and tensor.shape[1] % gguf.GGML_QUANT_SIZES[kind][0] == 0
        used = kind if fits else Kind.F32
        packed = gguf.quantize(numbers, used)
        writer.add_tensor(name, packed, raw_dtype=used)
        whole[name] = torch.from_numpy(gguf.dequantize(packed, used).reshape(numbers.shape).copy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return whole


def drawn(path: Path, lenders: Lenders, **ways: Any) -> Any:
    generation = Generation(prompt="a red cat", width=64, height=32, steps=2, seed=4)
    return alone(generation, Model.load(path, lenders=lenders, **ways), Rows(Graphs(), 2, exact=True))[0].astype(int)


@pytest.mark.parametrize(
    ("family", "kind"),
    [
        ("Flux", Kind.Q8_0),
        pytest.param("StableDiffusion3", Kind.BF16, marks=pytest.mark.slow),
        ("QwenImage", Kind.F16),
        pytest.param("ZImage", Kind.Q4_0, marks=pytest.mark.slow),
    ],
)
def test_a_picture_is_that_of_the_numbers_made_whole(family: str, kind: Kind, tmp_path: Path) -> None:
    layout, make = WRITERS[family]
    folder = make(tmp_path / "folder")
    lone = flow_checkpoints.write_lone(tmp_path / "lone.safetensors", folder, layout.original)
    packed, lenders = tmp_path / "it.gguf", {family: folder}
    save_file(write(packed, load_file(lone), kind), lone)
    assert np.abs(drawn(packed, lenders) - drawn(lone, lenders)).max() <= 1
    assert count_weights(packed, lenders) == count_weights(lone, lenders)
    assert inspect(packed, lenders) == inspect(lone, lenders)
    assert inspect(packed, lenders).whole


def test_its_numbers_may_rest_in_fewer_bits_again(tmp_path: Path) -> None:
    folder = flow_checkpoints.write_flux(tmp_path / "folder")
    lone = flow_checkpoints.write_lone(tmp_path / "lone.safetensors", folder, FLUX.original)
    write(tmp_path / "it.gguf", load_file(lone), Kind.Q8_0)
    plain, small = (drawn(tmp_path / "it.gguf", {"Flux": folder}, weights=bits) for bits in (Bits.native, Bits.int8))
    assert 0 < np.abs(plain - small).mean() < 1


@pytest.mark.parametrize("kind", [Kind.F32, Kind.F16, Kind.BF16, Kind.Q8_0, Kind.Q4_0, Kind.Q5_1])
def test_every_number_is_what_the_library_makes_of_it(kind: Kind, tmp_path: Path) -> None:
    """To the last bit in what was not packed, and to half a unit in the last place of float16 in what was."""
    dice = torch.Generator().manual_seed(0)
    shapes = [*WHOLE, (6, 96), (1, 32)]
    whole = write(tmp_path / "it.gguf", {f"{shape}": torch.randn(shape, generator=dice) for shape in shapes}, kind)
    found = read_tensors(tmp_path / "it.gguf")
    exact = kind in (Kind.F32, Kind.F16, Kind.BF16)
    assert found.keys() == whole.keys()
    for name, tensor in whole.items():
        assert found[name].shape == tensor.shape
        torch.testing.assert_close(
            found[name].float(), tensor, rtol=0 if exact else 2**-11, atol=0 if exact else 2**-25
        )


def test_a_shape_that_was_changed_to_be_packed_is_had_again(tmp_path: Path) -> None:
    """As city96's converter notes it."""
    tensor, path = torch.randn(8, 4, 3, 3), tmp_path / "it.gguf"
    writer = gguf.GGUFWriter(path, "sd1")
    writer.add_array("comfy.gguf.orig_shape.it", [*tensor.shape])
    writer.add_tensor("it", tensor.numpy().reshape(9, 32))
    for step in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file, writer.close):
        step()
    assert torch.equal(read_tensors(path)["it"], tensor)


def changed(raw: bytes, what: str) -> bytes:
    """A file with one tensor named "it", of 4 rows of 32."""
    at = raw.index(struct.pack("<Q2s", 2, b"it")) + 10  # the number of its sides, then these, its type and its place
    sides, rows, kind, place = at + 4, at + 12, at + 20, at + 24
    huge = struct.pack("<Q", 2**63)
    return {
        "shorter": raw[:-64],
        "longer": raw + b"\0" * 32,
        "another version": raw[:4] + struct.pack("<I", 9) + raw[8:],
        "too many tensors": raw[:8] + huge + raw[16:],
        "pairs without end": raw[:16] + huge + raw[24:],
        "sides without end": raw[:at] + struct.pack("<I", 2**31) + raw[at + 4 :],
        "a side without end": raw[:rows] + huge + raw[rows + 8 :],
        "an uneven side": raw[:sides] + struct.pack("<Q", 33) + raw[sides + 8 :],
        "a type of nothing": raw[:kind] + struct.pack("<I", 4000) + raw[kind + 4 :],
        "a place behind the end": raw[:place] + huge + raw[place + 8 :],
        "a cut header": raw[: at + 2],
    }[what]


WRONG = (
    "shorter", "longer", "another version", "too many tensors", "pairs without end", "sides without end",
    "a side without end", "an uneven side", "a type of nothing", "a place behind the end", "a cut header",
)  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_a_header_that_does_not_fit_its_file_is_refused(what: str, tmp_path: Path) -> None:
    path = tmp_path / "it.gguf"
    write(path, {"it": torch.randn(4, 32)}, Kind.Q8_0)
    assert gguf_file.read_header(path).tensors["it"].shape == (4, 32)
    path.write_bytes(changed(path.read_bytes(), what))
    with pytest.raises(EngineFailed, match=r"it\.gguf is not a safe GGUF file"):
        gguf_file.read_header(path)


def test_what_is_no_transformer_of_those_is_refused_by_name(tmp_path: Path) -> None:
    write(tmp_path / "it.gguf", {"blk.0.attn_q.weight": torch.randn(4, 32)}, Kind.Q8_0)
    with pytest.raises(
        EngineFailed, match="none of the transformers that are read from GGUF: Flux, StableDiffusion3, Qwen"
    ):
        inspect(tmp_path / "it.gguf")
    with pytest.raises(EngineFailed, match="not a safetensors file"):  # as a stranger may send it
        weights.read_header(tmp_path / "it.gguf")


def test_without_the_package_the_sentence_says_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "it.gguf", {"it": torch.randn(4, 32)}, Kind.Q8_0)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(EngineFailed, match=r"pip install 'safelight\[gguf\]'"):
        inspect(tmp_path / "it.gguf")
