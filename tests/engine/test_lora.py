"""LoRAs: equal to diffusers on the same file, in both layouts, and without a trace in the weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.testing import assert_close

from safelight.engine import compvis
from safelight.engine.families.family import Conditioning
from safelight.engine.generation import LoraUse
from safelight.engine.model import Model
from safelight.errors import Invalid

from . import checkpoints
from .oracle import denoise

ATTENTION = r"attn[12]\.(to_[qkv]|to_out\.0)$|ff\.net|proj_(in|out)$"
CONVOLUTION = r"conv1$|conv2$|conv_shortcut$|downsamplers|upsamplers|time_emb_proj$"
TEXT = r"(q|k|v|out)_proj$|fc[12]$"
X = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(7))
TIMES = torch.tensor([10.0, 700.0])
PROMPTS = ["a cat", "a red dog"]


def text_pairs(model: nn.Module, seed: int) -> dict[str, tuple[Tensor, Tensor]]:
    pairs = checkpoints.lora_pairs(model, TEXT, 4, seed)
    return {f"text_model.{name.removeprefix('text_model.')}": pair for name, pair in pairs.items()}


def expected(pipeline: Any, path: Path, strength: float) -> tuple[Tensor, Tensor]:
    """What diffusers makes of the same prompts and rows with the LoRA loaded its own way."""
    pipeline.load_lora_weights(path.parent, weight_name=path.name, adapter_name="one")
    pipeline.set_adapters(["one"], [strength])
    with torch.no_grad():
        encoded = pipeline.encode_prompt(
            PROMPTS, device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=False
        )
        added = None
        if isinstance(pipeline, StableDiffusionXLPipeline):
            size = torch.tensor([[64.0, 64, 0, 0, 64, 64]] * 2)
            added = {"text_embeds": encoded[2], "time_ids": size}
        return encoded[0], pipeline.unet(X, TIMES, encoded[0], added_cond_kwargs=added).sample


def ours(model: Model, *adapters: LoraUse) -> tuple[Tensor, Tensor]:
    conditioning = model.encode_text(PROMPTS, adapters=adapters)
    return torch.stack([c.embedding for c in conditioning]), denoise(model, X, TIMES, conditioning, adapters=adapters)


def check(folder: Path, kind: Any, path: Path, strength: float = 0.7) -> None:
    model = Model.load(folder, loras={"one": path})
    plain = ours(model)
    changed = ours(model, LoraUse("one", strength))
    for mine, theirs, without in zip(changed, expected(load(kind, folder), path, strength), plain, strict=True):
        assert_close(mine, theirs, rtol=1e-5, atol=1e-6)
        assert (mine - without).abs().max() > 1e-3
    assert all(torch.equal(before, after) for before, after in zip(plain, ours(model), strict=True))


def load(kind: Any, folder: Path) -> Any:
    pipeline = kind.from_pretrained(folder, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def test_kohya_sd1_with_text_encoder_and_alpha(sd1: Path, tmp_path: Path) -> None:
    pipeline = load(StableDiffusionPipeline, sd1)
    parts = {
        "lora_unet": checkpoints.lora_pairs(pipeline.unet, ATTENTION, 4, 1),
        "lora_te": text_pairs(pipeline.text_encoder, 2),
    }
    check(sd1, StableDiffusionPipeline, checkpoints.write_kohya_lora(tmp_path / "one.safetensors", parts))


@pytest.mark.parametrize("style", ["peft", "lora"])
def test_diffusers_layouts(sd1: Path, tmp_path: Path, style: str) -> None:
    pipeline = load(StableDiffusionPipeline, sd1)
    parts = {
        "unet": checkpoints.lora_pairs(pipeline.unet, ATTENTION, 4, 1),
        "text_encoder": text_pairs(pipeline.text_encoder, 2),
    }
    check(sd1, StableDiffusionPipeline, checkpoints.write_diffusers_lora(tmp_path / "one.safetensors", parts, style))


def test_convolutions_too(sd1: Path, tmp_path: Path) -> None:
    pipeline = load(StableDiffusionPipeline, sd1)
    parts = {
        "unet": checkpoints.lora_pairs(pipeline.unet, f"{ATTENTION}|{CONVOLUTION}", 4, 1),
        "text_encoder": text_pairs(pipeline.text_encoder, 2),
    }
    check(sd1, StableDiffusionPipeline, checkpoints.write_diffusers_lora(tmp_path / "one.safetensors", parts))


def test_kohya_sdxl_by_the_original_block_names(sdxl: Path, tmp_path: Path) -> None:
    pipeline = load(StableDiffusionXLPipeline, sdxl)
    pairs = checkpoints.lora_pairs(pipeline.unet, ATTENTION, 4, 1)
    parts = {
        "lora_unet": {compvis.unet_name(name, pipeline.unet.config): pair for name, pair in pairs.items()},
        "lora_te1": text_pairs(pipeline.text_encoder, 2),
        "lora_te2": text_pairs(pipeline.text_encoder_2, 3),
    }
    assert "input_blocks.4.1.transformer_blocks.0.attn1.to_q" in parts["lora_unet"]
    check(sdxl, StableDiffusionXLPipeline, checkpoints.write_kohya_lora(tmp_path / "one.safetensors", parts))


def test_two_loras_add_up_and_zero_strength_is_none(sd1: Path, tmp_path: Path) -> None:
    unet = load(StableDiffusionPipeline, sd1).unet
    paths = {
        str(seed): checkpoints.write_kohya_lora(
            tmp_path / f"{seed}.safetensors", {"lora_unet": checkpoints.lora_pairs(unet, "conv_out$", 2, seed)}
        )
        for seed in (1, 2)
    }
    model = Model.load(sd1, loras=paths)
    plain, one, two, both = (
        ours(model, *(LoraUse(name, 0.5) for name in names))[1] for names in ([], ["1"], ["2"], ["1", "2"])
    )
    assert_close(both - plain, (one - plain) + (two - plain), rtol=1e-4, atol=1e-6)
    assert torch.equal(ours(model, LoraUse("1", 0.0))[1], plain)


def test_a_lora_leaves_no_trace_in_the_weights(sd1: Path, tmp_path: Path) -> None:
    unet = load(StableDiffusionPipeline, sd1).unet
    pairs = {"lora_unet": checkpoints.lora_pairs(unet, ATTENTION, 4, 1)}
    model = Model.load(sd1, loras={"one": checkpoints.write_kohya_lora(tmp_path / "one.safetensors", pairs)})
    before = {name: weight.clone() for name, weight in model._parts["unet"].state_dict().items()}
    ours(model, LoraUse("one", 1.0))
    after = model._parts["unet"].state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not any(part._forward_hooks for part in model._parts["unet"].modules())


def test_hooks_go_even_when_the_call_fails(sd1: Path, tmp_path: Path) -> None:
    unet = load(StableDiffusionPipeline, sd1).unet
    pairs = {"lora_unet": checkpoints.lora_pairs(unet, ATTENTION, 4, 1)}
    model = Model.load(sd1, loras={"one": checkpoints.write_kohya_lora(tmp_path / "one.safetensors", pairs)})
    with pytest.raises(RuntimeError):
        denoise(model, X, TIMES, [Conditioning(torch.zeros(77, 3))] * 2, adapters=[LoraUse("one")])
    assert not any(part._forward_hooks for part in model._parts["unet"].modules())


@pytest.mark.parametrize(
    ("tensors", "rule"),
    [
        ({"lora_unet_conv_in.hada_w1_a": torch.zeros(2, 2)}, "of a kind that is not supported"),
        ({"lora_unet_conv_in.lora_down.weight": torch.zeros(2, 4, 3, 3)}, "not a whole LoRA file"),
        (
            {
                "lora_unet_no_such_part.lora_down.weight": torch.zeros(2, 4),
                "lora_unet_no_such_part.lora_up.weight": torch.zeros(4, 2),
            },
            "was made for another kind of checkpoint: this one has no",
        ),
        (
            {
                "unet.conv_in.lora_A.weight": torch.zeros(2, 5, 3, 3),
                "unet.conv_in.lora_B.weight": torch.zeros(32, 2, 1, 1),
            },
            "its shapes do not fit",
        ),
    ],
)
def test_unfit_files_are_refused_by_what_is_wrong(
    sd1: Path, tmp_path: Path, tensors: dict[str, Tensor], rule: str
) -> None:
    save_file(tensors, tmp_path / "bad.safetensors")
    with pytest.raises(Invalid, match=rule):
        ours(Model.load(sd1, loras={"bad": tmp_path / "bad.safetensors"}), LoraUse("bad"))


def test_an_unknown_lora_is_the_callers_mistake(sd1: Path) -> None:
    with pytest.raises(Invalid, match="lora_model is not a LoRA on this server"):
        ours(Model.load(sd1), LoraUse("nowhere"))
