"""LoRA files for the transformer families, against diffusers loading the same file its own way."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor

from safelight.engine.families.flux_names import DOUBLE, SINGLE, original_name
from safelight.engine.generation import Generation, LoraUse
from safelight.engine.graphs import Graphs
from safelight.engine.model import Model
from safelight.engine.rows import Rows

from . import flow_checkpoints
from .checkpoints import lora_pairs, write_diffusers_lora, write_kohya_lora
from .gallery import Gallery
from .oracle import distance

FLUX = r"(to_[qkv]|add_[qkv]_proj|to_out\.0|to_add_out|proj_mlp|proj_out|net\.2|net\.0\.proj|linear)$"
Pairs = dict[str, tuple[Tensor, Tensor]]


def ours(folder: Path, path: Path, *loras: LoraUse) -> Tensor:
    gallery = Gallery(exact=False, model=Model.load(folder, loras={"one": path}), rows=Rows(Graphs(), 4, exact=False))
    scale = 3.5 if folder.name == "flux" else 4.0
    ticket = gallery.admit(
        Generation("a red cat", width=64, height=64, steps=2, seed=4, guidance_scale=scale, loras=loras)
    )
    gallery.drain()
    return gallery.latents[ticket]


def theirs(pipeline: Any, path: Path, **told: Any) -> Tensor:
    pipeline.load_lora_weights(path.parent, weight_name=path.name, adapter_name="one")
    pipeline.set_adapters(["one"], [0.7])
    pipeline.set_progress_bar_config(disable=True)
    source = torch.Generator().manual_seed(4)
    size = {"width": 64, "height": 64, "num_inference_steps": 2, "generator": source, "output_type": "latent"}
    latents = pipeline("a red cat", **size, **told).images[0]
    return latents if latents.ndim == 3 else flow_checkpoints.unpacked(latents, 8, 8)


def check(folder: Path, path: Path, pipeline: Any, **told: Any) -> None:
    wanted = theirs(pipeline, path, **told)
    plain, changed = ours(folder, path), ours(folder, path, LoraUse("one", 0.7))
    assert distance(changed, wanted) < 1e-4
    assert distance(plain, wanted) > 1e-3


@pytest.mark.parametrize(
    ("name", "write", "kind", "parts", "told"),
    [
        ("flux", flow_checkpoints.write_flux, "FluxPipeline", FLUX, {"guidance_scale": 3.5}),
        ("sd3", flow_checkpoints.write_sd3, "StableDiffusion3Pipeline", r"to_[qkv]$", {"guidance_scale": 4.0}),
        (
            "qwen",
            flow_checkpoints.write_qwen,
            "QwenImagePipeline",
            r"to_[qkv]$",
            {"true_cfg_scale": 4.0, "negative_prompt": ""},
        ),
        ("z-image", flow_checkpoints.write_z_image, "ZImagePipeline", r"to_[qkv]$", {"guidance_scale": 4.0}),
    ],
)
def test_diffusers_layout(
    name: str, write: Callable[[Path], Path], kind: str, parts: str, told: dict[str, Any], tmp_path: Path
) -> None:
    folder = write(tmp_path / name)
    pipeline: Any = getattr(diffusers, kind).from_pretrained(folder)
    pairs = {"transformer": lora_pairs(pipeline.transformer, parts, 4, 1)}
    check(folder, write_diffusers_lora(tmp_path / "one.safetensors", pairs), pipeline, **told)


def test_kohyas_layout_for_flux_by_the_original_names(tmp_path: Path) -> None:
    """One module of the original may be several of ours: they share what leads in, and have each a part of what comes out."""
    folder = flow_checkpoints.write_flux(tmp_path / "flux")
    pipeline: Any = diffusers.FluxPipeline.from_pretrained(folder)
    pairs = fused(lora_pairs(pipeline.transformer, r"blocks\.\d+\..*" + FLUX, 4, 1))
    named = {re.sub(r".*blocks\.\d+\.", "", name) for name in pairs}
    linear = [name for name in (*DOUBLE.values(), *SINGLE.values()) if not name.endswith("_norm")]
    assert named == {name.partition("#")[0] for name in linear}
    whole = write_kohya_lora(tmp_path / "whole.safetensors", {"lora_unet": pairs})
    apart = write_diffusers_lora(tmp_path / "apart.safetensors", {"transformer": split(pairs, pipeline)})
    assert distance(ours(folder, whole, LoraUse("one", 0.7)), ours(folder, apart, LoraUse("one", 0.35))) < 1e-5
    # diffusers' reader of this layout knows linear1 at the size of the published model alone
    known = {"lora_unet": {name: pair for name, pair in pairs.items() if "linear1" not in name}}
    check(folder, write_kohya_lora(tmp_path / "one.safetensors", known), pipeline, guidance_scale=3.5)


def split(pairs: Pairs, pipeline: Any) -> Pairs:
    """Back to a pair for each of diffusers' modules."""
    found: Pairs = {}
    for name, (down, up) in pairs.items():
        paths = {
            original_name(path): path
            for path, _ in pipeline.transformer.named_modules()
            if original_name(path).partition("#")[0] == name
        }
        sizes = [pipeline.transformer.get_submodule(paths[place]).weight.shape[0] for place in sorted(paths)]
        found |= {
            paths[place]: (down.clone(), part.clone())
            for place, part in zip(sorted(paths), torch.split(up, sizes), strict=True)
        }
    return found


def fused(pairs: Pairs) -> Pairs:
    groups: dict[str, dict[str, tuple[Tensor, Tensor]]] = {}
    for path, pair in pairs.items():
        name, _, place = original_name(path).partition("#")
        groups.setdefault(name, {})[place] = pair
    return {
        name: (parts[min(parts)][0], torch.cat([parts[place][1] for place in sorted(parts)]))
        for name, parts in groups.items()
    }
