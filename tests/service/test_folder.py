"""Folders in diffusers' layout from a real server: which files are fetched, what breaks off is gone on with, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from safelight.errors import Unfetchable
from safelight.service import download
from safelight.service.folder import Folder, beside, is_index
from safelight.service.nameless import Nameless, Parts
from safelight.service.outbound import Outbound
from tests.whole.shelter import Shelter, shelter

pytestmark = pytest.mark.anyio
INDEX = {
    "_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DConditionModel"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"], "scheduler": ["diffusers", "DDIMScheduler"], "safety_checker": [None, None],
    "../../etc": ["diffusers", "UNet2DConditionModel"], "requires_safety_checker": False,
}  # fmt: skip
SHARDS = ["diffusion_pytorch_model-00001-of-00002.safetensors", "diffusion_pytorch_model-00002-of-00002.safetensors"]
LISTED = "unet/diffusion_pytorch_model.safetensors.index.json"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "PAUSE", 0.001)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One network in two shards, one in half precision alone."""
    written: dict[str, Any] = {
        "model_index.json": INDEX, "scheduler/scheduler_config.json": {"a": 1}, "unet/config.json": {"b": 2},
        "text_encoder/config.json": {}, "tokenizer/vocab.json": {"c": 3},
        LISTED: {"weight_map": dict(zip("abc", SHARDS * 2, strict=False))},
        "tokenizer/chat_template.jinja": {}, "unet/else.bin": {}, "text_encoder/model.fp16.safetensors": [0] * 100,
        f"unet/{SHARDS[0]}": [1] * 5000, f"unet/{SHARDS[1]}": [2] * 3000,
    }  # fmt: skip
    for name, what in written.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(json.dumps(what))
    return tmp_path


async def fetched(host: Shelter, limit: int = 10**6) -> dict[str, bytes]:
    """What is seen of it as a folder, which is what its parts make together."""
    with Nameless(host.file.parent) as model:
        await Folder(Outbound({80}, ["127.0.0.1"]), f"{host.url}?token=1", model, "url", limit, lambda *_: None).run(60)
        shown, parts = model.show(), b"".join(Parts([*model.files.values()]))
        found = {name: (shown / name).read_bytes() for name in model.sizes}
        assert parts == b"".join(found.values())
        assert [len(data) for data in found.values()] == [*model.sizes.values()]
        assert {path.relative_to(shown).as_posix() for path in shown.rglob("*.*")} == {*found}
    assert not shown.exists()
    return found


async def refused(host: Shelter, limit: int = 10**6) -> str:
    with pytest.raises(Unfetchable) as caught:
        await fetched(host, limit)
    return caught.value.rule


async def test_what_its_index_implies_is_fetched_and_nothing_else(folder: Path) -> None:
    with shelter(folder, 100, 200) as host:
        found = await fetched(host)
    for name, data in found.items():
        assert data == (folder / name).read_bytes(), name
    networks = {"unet/config.json", LISTED, *(f"unet/{name}" for name in SHARDS)}
    others = {"text_encoder/config.json", "text_encoder/model.fp16.safetensors", "scheduler/scheduler_config.json"}
    assert {*found} == {"model_index.json", "tokenizer/vocab.json", *networks, *others}
    assert host.begun[:4] == [0, 100, 200, 0]
    assert not any("etc" in name or "safety" in name or name.endswith((".bin", ".jinja")) for name in host.asked)


@pytest.mark.parametrize(
    ("changed", "limit", "said"),
    [
        ({"unet/config.json": None}, 10**6, "leads to a folder whose unet/config.json was answered with status 404"),
        ({"text_encoder/model.fp16.safetensors": None}, 10**6, "leads to a folder whose text_encoder/model.fp16.safetensors was"),
        ({"model_index.json": "<html>"}, 10**6, "leads to a folder that has no JSON object in model_index.json"),
        ({LISTED: '{"weight_map": {"a": "../../../etc/passwd"}}'}, 10**6, "leads to a folder that lists shards by other names"),
        ({LISTED: "{}"}, 10**6, "leads to a folder that lists no shards, or more than 200"),
        ({}, 20_000, f"leads to a folder whose unet/{SHARDS[1]} makes it larger than 0.0191 MB"),
    ],
)  # fmt: skip
async def test_what_is_not_whole_gets_its_sentence(
    folder: Path, changed: dict[str, str | None], limit: int, said: str
) -> None:
    for name, text in changed.items():
        (folder / name).unlink() if text is None else (folder / name).write_text(text)
    with shelter(folder) as host:
        assert (await refused(host, limit)).startswith(said)


def test_an_index_is_known_by_its_path_and_its_neighbours_have_its_query() -> None:
    address = "https://models.example/a/resolve/main/model_index.json?token=x#part"
    assert beside(address, "unet/config.json") == "https://models.example/a/resolve/main/unet/config.json?token=x"
    assert is_index(address)
    assert not is_index("https://models.example/a.safetensors?of=/model_index.json")
