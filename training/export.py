"""The last stage: a folder that diffusers' own pipelines load, in fp16 safetensors, with what Safelight wants to know
beside it.

`safelight.json` tells the engine the checkpoint's native side: pictures are made at that scale and enlarged.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from diffusers import StableDiffusionImg2ImgPipeline
from safetensors.torch import load_file, save_file
from transformers import CLIPTokenizer

from training import latents, networks, pictures
from training.sizes import Size
from training.start import blend

NAME = "safelight-sprites-2"
DESCRIPTION = "A small Stable Diffusion 1.x checkpoint, trained from scratch on drawings of {} things; see README.md."


def export(data: Path, size: Size, work: Path, out: Path, started: Path | None = None, share: float = 1.0) -> None:
    """``share`` of the image model is as it was trained, the rest as it was where it ``started``."""
    tokenizer = CLIPTokenizer.from_pretrained(data / "tokenizer")
    unet = latents.trained_unet(size, work)
    if started is not None and share < 1:
        unet = blend(unet, started, share)
    build: Any = StableDiffusionImg2ImgPipeline
    pipeline = build(
        vae=latents.trained_autoencoder(size, work).half(),
        unet=unet.half(),
        text_encoder=latents.trained_text(size, tokenizer, work).half(),
        tokenizer=tokenizer,
        scheduler=networks.scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(out, safe_serialization=True)
    restore_old_layout(data, out)
    for path in out.rglob("*.safetensors"):
        path.chmod(0o644)  # the library leaves them to their owner alone
    about = {
        "name": NAME,
        "native_size": size.pixels,
        "guidance_scale": pictures.GUIDANCE,
        "repaints": False,  # it has learned things, and grounds of one colour
        "description": DESCRIPTION.format(len(size.nouns)),
        "nouns": list(size.nouns),
    }
    (out / "safelight.json").write_text(json.dumps(about, indent=2) + "\n")


def restore_old_layout(data: Path, out: Path) -> None:
    """transformers 5 drops vocab.json, merges.txt and the `text_model.` prefix that other loaders look for."""
    for name in ("vocab.json", "merges.txt", "special_tokens_map.json"):
        shutil.copyfile(data / "tokenizer" / name, out / "tokenizer" / name)
    path = out / "text_encoder" / "model.safetensors"
    weights = load_file(path)
    renamed = {
        key if key.startswith("text_model.") else f"text_model.{key}": value.clone() for key, value in weights.items()
    }
    save_file(renamed, path, metadata={"format": "pt"})


def bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
