"""What a stranger's file is judged to be, by its header alone, and the sentence for each that is not wanted."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import save_file

from safelight.engine import verdict as program
from safelight.engine.verdict import judge
from safelight.errors import EngineFailed, Invalid

from . import checkpoints


def lora_for(folder: Path, path: Path) -> Path:
    unet = StableDiffusionPipeline.from_pretrained(folder, local_files_only=True).unet
    pairs = checkpoints.lora_pairs(unet, r"attn2\.to_[kv]$", 2, 1)
    return checkpoints.write_kohya_lora(path, {"lora_unet": pairs})


def verdict(kind: str, path: Path, *others: Path) -> str:
    try:
        return f"fits {judge(kind, path, others, {})['family']}"
    except Invalid as error:
        return error.rule
    except EngineFailed as error:
        return error.message


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_a_checkpoint_is_known_without_its_weights(tmp_path: Path) -> None:
    folder = checkpoints.write_sd1(tmp_path / "sd1", clip=True)
    whole = checkpoints.write_single_file(tmp_path / "whole.safetensors", folder)
    assert verdict("checkpoint", whole) == "fits StableDiffusion"
    assert verdict("lora", lora_for(folder, tmp_path / "fits.safetensors"), whole) == "fits StableDiffusion"


def test_a_lora_must_fit_one_of_the_checkpoints(sd1: Path, sd2: Path, tmp_path: Path) -> None:
    lora = lora_for(sd1, tmp_path / "lora.safetensors")
    assert verdict("lora", lora, sd2, sd1) == "fits StableDiffusion"
    foreign = "leads to a LoRA that was made for another kind of checkpoint: "
    assert verdict("lora", lora, sd2).startswith(foreign)
    assert verdict("checkpoint", lora) == "leads to a LoRA; send it with model_category lora"


def test_a_controlnet_must_fit_one_of_the_checkpoints(sd1: Path, sd2: Path, tmp_path: Path) -> None:
    folder = checkpoints.write_controlnet(tmp_path / "lines", sd1)
    ours = folder / "diffusion_pytorch_model.safetensors"
    original = checkpoints.write_controlnet_file(tmp_path / "original.safetensors", folder)
    assert verdict("controlnet", ours, sd2, sd1) == verdict("controlnet", original, sd1) == "fits StableDiffusion"
    assert verdict("controlnet", ours, sd2).startswith("leads to a ControlNet that was made for another kind")
    assert verdict("controlnet", ours) == "leads to a ControlNet that fits none of the checkpoints here"


def test_an_embedding_must_fit_one_of_the_checkpoints(sd1: Path, sdxl: Path, tmp_path: Path) -> None:
    def judged(tensors: dict[str, torch.Tensor], *others: Path, kind: str = "embedding") -> str:
        save_file(tensors, tmp_path / "word.safetensors")
        return verdict(kind, tmp_path / "word.safetensors", *others)

    ours = {"emb_params": torch.zeros(2, 64)}
    assert judged(ours, sdxl, sd1) == judged({"<it>": torch.zeros(64)}, sd1) == "fits StableDiffusion"
    assert judged({"clip_l": torch.zeros(1, 64), "clip_g": torch.zeros(1, 64)}, sdxl) == "fits StableDiffusion"
    foreign = "leads to an embedding that was made for another kind of checkpoint: its vectors are 65 wide"
    assert judged({"emb_params": torch.zeros(2, 65)}, sd1, sdxl) == foreign
    assert judged(ours, sdxl).startswith("leads to an embedding that was made for another kind of checkpoint")
    odd = {"a": torch.zeros(2, 64), "b": torch.zeros(1)}
    assert judged(odd, sd1) == "leads to an embedding that is in no layout that this server knows"
    assert "has more than 750 vectors" in judged({"emb_params": torch.zeros(751, 64)}, sd1)
    for kind in ("checkpoint", "lora", "controlnet"):
        assert judged(ours, sd1, kind=kind) == "leads to an embedding; send it with model_category embeddings"


def test_what_is_sent_as_an_embedding_and_is_none_is_named(sd1: Path, tmp_path: Path) -> None:
    lora = lora_for(sd1, tmp_path / "lora.safetensors")
    assert verdict("embedding", lora, sd1) == "leads to a LoRA; send it with model_category lora"
    lines = checkpoints.write_controlnet(tmp_path / "lines", sd1) / "diffusion_pytorch_model.safetensors"
    assert verdict("embedding", lines, sd1) == "leads to a ControlNet; send it with model_category controlnet"
    save_file({"model.diffusion_model.out": torch.zeros(1), "more": torch.zeros(1)}, tmp_path / "whole.safetensors")
    said = "leads to a checkpoint; send it with model_category stable_diffusion"
    assert verdict("embedding", tmp_path / "whole.safetensors", sd1) == said


def test_an_autoencoder_must_be_built_like_that_of_one_of_the_checkpoints(sd1: Path, tmp_path: Path) -> None:
    def judged(kind: str, **config: Any) -> str:
        checkpoints.vae(1, **config).save_pretrained(tmp_path / "it")
        return verdict(kind, tmp_path / "it" / "diffusion_pytorch_model.safetensors", sd1)

    assert judged("vae") == "fits StableDiffusion"
    foreign = "leads to an autoencoder that was made for another kind of checkpoint: "
    assert judged("vae", latent_channels=16) == f"{foreign}its latents have 16 channels, the checkpoint's 4"
    assert (
        judged("vae", block_out_channels=(64, 32, 32, 32))
        == f"{foreign}it is built otherwise than the checkpoint's own"
    )
    for kind in ("checkpoint", "lora", "controlnet", "embedding"):
        assert judged(kind) == "leads to an autoencoder; send it with model_category vae"


def test_what_is_no_model_is_named(tmp_path: Path) -> None:
    page = written(tmp_path / "page.html", b"<html>" + bytes(100))
    assert "is not a safetensors file" in verdict("checkpoint", page)
    endless = written(tmp_path / "endless", struct.pack("<Q", 100 * 2**20) + b"{" + b" " * 1000)
    assert "its header is missing or too long" in verdict("checkpoint", endless)
    header = json.dumps({"a": {"dtype": "F32", "shape": [1000], "data_offsets": [0, 4000]}}).encode()
    liar = written(tmp_path / "liar", struct.pack("<Q", len(header)) + header + bytes(100))
    assert "is truncated or has bytes that no tensor owns" in verdict("checkpoint", liar)
    save_file({"some": torch.zeros(2), "thing": torch.zeros(2)}, tmp_path / "else.safetensors")
    assert "not a whole Stable Diffusion" in verdict("checkpoint", tmp_path / "else.safetensors")


def test_the_program_says_what_is_wrong_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a program of its own, with its limits, it is run where models are installed."""
    header = b"[" * 10**6
    path = written(tmp_path / "odd", struct.pack("<Q", len(header)) + header)
    monkeypatch.setattr(program, "_confine", lambda: None)
    with path.open("rb") as file:
        program.main("checkpoint", f"/proc/{os.getpid()}/fd/{file.fileno()}", "{}")
    assert json.loads(capsys.readouterr().out)["wrong"].startswith("leads to a file that ")
