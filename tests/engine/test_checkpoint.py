"""Checkpoints are read without a network, without a hub and without a word of the environment."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
from transformers import CLIPTokenizer

from safelight.engine.checkpoint import count_weights
from safelight.engine.memory import EncoderPlace
from safelight.engine.model import Model
from safelight.engine.quantised import Bits

from . import checkpoints


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> NoReturn:
        raise AssertionError("a checkpoint reached for the network")

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.delenv("TRANSFORMERS_OFFLINE", raising=False)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("fixture", ["sd1", "sd1_inpaint", "sd2", "sdxl"])
def test_a_folder_is_read_offline(request: pytest.FixtureRequest, fixture: str) -> None:
    model = Model.load(request.getfixturevalue(fixture))
    assert model.encode_text(["a cat"])[0].embedding.isfinite().all()


@pytest.mark.usefixtures("no_network")
def test_a_single_file_is_read_offline_tokenizer_and_all(tmp_path: Path) -> None:
    folder = checkpoints.write_sd1(tmp_path / "folder", clip=True)
    model = Model.load(checkpoints.write_single_file(tmp_path / "single.safetensors", folder))
    assert model.name == "single"
    cat, dog = model.encode_text(["a photo of a cat", "a photo of a dog"])
    assert not torch.equal(cat.embedding, dog.embedding)


def test_headers_alone_tell_the_size(sdxl: Path) -> None:
    model = Model.load(sdxl)
    assert count_weights(sdxl).footprint(4, EncoderPlace.device, Bits.native).stays == pytest.approx(
        model.bytes, rel=1e-3
    )


def test_a_tokenizer_is_clips_whether_from_files_or_aboard(tmp_path: Path) -> None:
    written = checkpoints.write_tokenizer(tmp_path, clip=True)
    read = CLIPTokenizer.from_pretrained(tmp_path, local_files_only=True)
    prompt = "a photo of a cat"
    assert written(prompt).input_ids == read(prompt).input_ids == [49406, 320, 1125, 539, 320, 2368, 49407]
