"""Safetensors files that lie, folders that hold pickles, classes that are not ours: each refused by what is wrong."""

from __future__ import annotations

import json
import pickle
import shutil
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from safelight.engine.checkpoint import read_components
from safelight.engine.weights import MAX_HEADER_BYTES, read_header, read_tensors
from safelight.errors import EngineFailed


def raw(header: Any, data: bytes = b"", size: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if size is None else size) + text + data


def entry(dtype: str = "F32", shape: Any = (1,), span: Any = (0, 4)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(span)}


LIES = {
    "empty file": b"",
    "a pickle": pickle.dumps({"a": 1}),
    "header longer than the cap": raw({}, size=MAX_HEADER_BYTES + 1),
    "header longer than the file": raw({"a": entry()}, b"1234", size=4096),
    "not JSON": raw(b"nonsense"),
    "nested to exhaustion": raw(b"[" * 100_000),
    "a list": raw([1]),
    "unknown type": raw({"a": entry("PICKLE")}, b"1234"),
    "negative shape": raw({"a": entry(shape=(-1, -1))}, b"1234"),
    "shape and bytes differ": raw({"a": entry(shape=(2,))}, b"1234"),
    "overlap": raw({"a": entry(), "b": entry()}, b"1234"),
    "gap": raw({"a": entry(span=(4, 8))}, b"12345678"),
    "truncated": raw({"a": entry()}, b"12"),
    "bytes behind the end": raw({"a": entry()}, b"12345678"),
    "entry is no object": raw({"a": 7}),
    "offsets are text": raw({"a": entry(span=("0", "4"))}, b"1234"),
    "booleans for numbers": raw({"a": entry(shape=(True,))}, b"1234"),
    "too many tensors": raw({str(i): entry(shape=(0,), span=(0, 0)) for i in range(20_001)}),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_file_that_lies_is_refused(tmp_path: Path, lie: str) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(LIES[lie])
    with pytest.raises(EngineFailed, match=r"model\.safetensors"):
        read_tensors(path)


@given(damage=st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), min_size=1, max_size=8))
@settings(max_examples=200, deadline=None)
def test_damage_is_refused_or_harmless(tmp_path_factory: pytest.TempPathFactory, damage: list[tuple[int, int]]) -> None:
    path = tmp_path_factory.mktemp("damaged") / "model.safetensors"
    save_file({"a": torch.ones(3), "b": torch.zeros(2, 2)}, path)
    content = bytearray(path.read_bytes())
    for place, byte in damage:
        content[place % len(content)] = byte
    path.write_bytes(content)
    with suppress(EngineFailed):
        read_tensors(path)


def test_an_honest_file_is_read_whatever_its_suffix(tmp_path: Path) -> None:
    path = tmp_path / "model.SafeTensors.txt"
    save_file({"a": torch.ones(3, dtype=torch.float16)}, path, metadata={"format": "pt"})
    assert read_header(path).metadata == {"format": "pt"}
    assert read_tensors(path)["a"].tolist() == [1, 1, 1]


@pytest.fixture
def folder(sd1: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sd1, tmp_path / "copy"))


def rewrite(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_folder_with_pickles_alone_is_refused(folder: Path) -> None:
    (folder / "unet" / "diffusion_pytorch_model.safetensors").rename(folder / "unet" / "diffusion_pytorch_model.bin")
    with pytest.raises(EngineFailed, match="only in a pickled form, which can run code; convert it to safetensors"):
        read_components(folder)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"_class_name": "EvilPipeline"}, "'EvilPipeline' is not a kind of checkpoint"),
        ({"unet": ["my_module", "UNet2DConditionModel"]}, "unet is of a class that Safelight does not run"),
        ({"unet": ["diffusers", "ControlNetModel"]}, "unet is of a class that Safelight does not run"),
        ({"scheduler": ["diffusers", "os.system"]}, "scheduler is of a class that Safelight does not run"),
        ({"text_encoder": "CLIPTextModel"}, "does not say what its text_encoder is"),
    ],
)
def test_classes_that_are_not_ours_are_refused(folder: Path, change: dict[str, Any], why: str) -> None:
    rewrite(folder / "model_index.json", **change)
    with pytest.raises(EngineFailed, match=why):
        read_components(folder)


def test_code_beside_the_weights_is_never_run(folder: Path) -> None:
    trap = f"open({str(folder / 'sprung')!r}, 'w')"
    for place in (folder, folder / "unet", folder / "scheduler", folder / "tokenizer"):
        for name in ("pipeline.py", "unet.py", "modeling.py", "__init__.py"):
            (place / name).write_text(trap)
    rewrite(folder / "unet" / "config.json", auto_map={"AutoModel": "modeling.Evil"})
    rewrite(folder / "tokenizer" / "tokenizer_config.json", auto_map={"AutoTokenizer": ["modeling.Evil", None]})
    read_components(folder)
    assert not (folder / "sprung").exists()


@pytest.mark.parametrize("value", [-4, "wide", [1, 2, 3], 1000])
def test_a_configuration_that_fits_no_weights_is_refused(folder: Path, value: Any) -> None:
    rewrite(folder / "unet" / "config.json", cross_attention_dim=value)
    with pytest.raises(EngineFailed, match="does not describe modules that its weights fit"):
        read_components(folder)


def test_missing_parts_are_named(folder: Path) -> None:
    (folder / "vae" / "config.json").unlink()
    with pytest.raises(EngineFailed, match=r"The checkpoint lacks vae/config\.json"):
        read_components(folder)


def test_older_names_in_the_autoencoder_are_understood(folder: Path) -> None:
    path = folder / "vae" / "diffusion_pytorch_model.safetensors"
    older = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value.", ".to_out.0.": ".proj_attn."}
    tensors = read_tensors(path)
    for now, then in older.items():
        tensors = {name.replace(now, then): tensor for name, tensor in tensors.items()}
    wanted = read_components(folder).parts.networks["vae"].state_dict()
    save_file(tensors, path)
    found = read_components(folder).parts.networks["vae"].state_dict()
    assert all(torch.equal(wanted[name], found[name]) for name in wanted)


def test_shards_are_read_together(folder: Path) -> None:
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    names = list(enumerate(read_tensors(path).items()))
    for shard in (0, 1):
        part = {name: tensor for i, (name, tensor) in names if i % 2 == shard}
        save_file(part, path.with_name(f"diffusion_pytorch_model-0000{shard + 1}-of-00002.safetensors"))
    path.unlink()
    assert len(read_components(folder).parts.networks["unet"].state_dict()) == len(names)


def test_the_full_file_is_preferred_to_a_variant(folder: Path) -> None:
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    half = {name: tensor.half() for name, tensor in read_tensors(path).items()}
    save_file(half, path.with_name("diffusion_pytorch_model.fp16.safetensors"))
    assert next(read_components(folder).parts.networks["unet"].parameters()).dtype == torch.float32
    path.unlink()
    assert next(read_components(folder).parts.networks["unet"].parameters()).dtype == torch.float16
