"""What headers alone tell of a checkpoint, for every family."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from safelight.checkpoints import BUNDLED
from safelight.cli import cli
from safelight.engine.families.family import Family
from safelight.engine.families.flux import Kontext
from safelight.engine.families.pixart import PixArt
from safelight.engine.families.qwen_image_edit import QwenImageEdit
from safelight.engine.families.sd3 import StableDiffusion3
from safelight.engine.families.stable_diffusion import StableDiffusion
from safelight.engine.families.z_image import ZImage
from safelight.engine.inspection import inspect
from safelight.engine.model import Model

from . import checkpoints, flow_checkpoints

ROOT = Path(__file__).resolve().parents[2]
TABLE = re.compile(r"^\| ([\w. -]+) \| 512 \| (\d+) MiB", re.MULTILINE)
ALL = ("text2img", "img2img", "inpaint")
KINDS: dict[str, tuple[Callable[[Path], Path], str, tuple[str, ...]]] = {
    "sd1": (checkpoints.write_sd1, "StableDiffusion", ALL),
    "sd1-inpaint": (checkpoints.write_sd1_inpaint, "StableDiffusion", ("inpaint",)),
    "pix2pix": (checkpoints.write_pix2pix, "InstructPix2Pix", ("pix2pix",)),
    "depth": (checkpoints.write_depth, "Depth2Img", ("depth2img",)),
    "sdxl": (checkpoints.write_sdxl, "StableDiffusion", ALL),
    "sd3": (flow_checkpoints.write_sd3, "StableDiffusion3", ALL),
    "flux": (flow_checkpoints.write_flux, "Flux", ALL),
    "fill": (flow_checkpoints.write_fill, "Flux", ("inpaint",)),
    "kontext": (flow_checkpoints.write_kontext, "Kontext", ("text2img", "edit")),
    "qwen": (flow_checkpoints.write_qwen, "QwenImage", ALL),
    "pixart": (flow_checkpoints.write_pixart, "PixArt", ALL),
    "qwen-edit-plus": (flow_checkpoints.write_qwen_edit_plus, "QwenImageEditPlus", ("edit",)),
    "z-image": (flow_checkpoints.write_z_image, "ZImage", ALL),
}


@pytest.mark.parametrize("name", KINDS)
def test_a_checkpoint_is_told_without_its_weights(name: str, tmp_path: Path) -> None:
    write, family, tasks = KINDS[name]
    found = inspect(write(tmp_path / "it"))
    assert (found.family, found.tasks) == (family, tasks)
    assert found.whole, found.parts
    model = Model.load(tmp_path / "it")
    assert found.pictures == model.family.most_pictures
    assert found.row
    assert found.weights * 4 == pytest.approx(model.bytes, rel=0.02)
    apart = {part: 4 * count for part, count in found.apart.items()}
    assert apart == pytest.approx(model.footprint.apart, rel=0.1)  # files hold buffers too


def test_what_is_missing_is_named(sd1: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(sd1, tmp_path / "it"))
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(weights)
    tensors["conv_in.weight"] = tensors["conv_in.weight"][:, :2].contiguous()
    del tensors["conv_out.weight"]
    save_file(tensors, weights)
    shutil.rmtree(folder / "vae")
    shutil.rmtree(folder / "tokenizer")
    lacks = {part.name: part.lacks for part in inspect(folder).parts if part.lacks}
    assert lacks == {
        "unet": "1 weights are not there, conv_out.weight for one; 1 weights are of another shape, conv_in.weight for one",
        "vae": "The weights of vae are there not at all",
        "tokenizer": "its files are not there",
    }
    told = CliRunner().invoke(cli, ["models", "check", str(folder)])
    assert told.exit_code == 1
    assert "conv_out.weight for one" in told.output


def test_a_single_file_too(tmp_path: Path) -> None:
    folder = checkpoints.write_sdxl(tmp_path / "folder", clip=True)
    found = inspect(checkpoints.write_single_file(tmp_path / "one.safetensors", folder))
    assert found.whole
    assert found.row == inspect(folder).row
    assert [part.name for part in found.parts] == ["unet", "vae", "text encoder", "text encoder"]


def test_a_row_of_a_call_takes_what_was_counted() -> None:
    """At the true widths; what else there is takes it in proportion."""
    told = dict(TABLE.findall((ROOT / "docs/benchmarks.md").read_text()))
    sd15 = {"block_out_channels": [320, 640], "down_block_types": ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D"]}
    heads = {"attention_head_dim": 64, "num_attention_heads": 38}
    configs: dict[str, tuple[type[Family], dict[str, Any]]] = {
        "Stable Diffusion 1.5": (StableDiffusion, sd15),
        "SDXL": (StableDiffusion, sd15 | {"down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"]}),
        "Stable Diffusion 3.5 large": (StableDiffusion3, heads),
        "FLUX.1": (Kontext, {"attention_head_dim": 128, "num_attention_heads": 24}),
        "Z-Image": (ZImage, {"dim": 3840}),
        "Qwen-Image": (QwenImageEdit, {"attention_head_dim": 128, "num_attention_heads": 24}),
        "PixArt-Sigma": (PixArt, {"attention_head_dim": 72, "num_attention_heads": 16}),
    }
    found = {name: (family.row_bytes(config) or 0) / 2**20 for name, (family, config) in configs.items()}
    assert found == {name: float(measured) for name, measured in told.items()}
    assert (
        StableDiffusion3.row_bytes(heads | {"num_attention_heads": 19}) == found["Stable Diffusion 3.5 large"] * 2**19
    )
    assert Family.row_bytes(heads) is None


def test_the_command_says_it_in_words_and_in_json() -> None:
    told = CliRunner().invoke(cli, ["models", "check", str(BUNDLED)])
    assert told.exit_code == 0
    assert told.output.startswith("StableDiffusion: text2img, img2img, inpaint\n")
    found = json.loads(CliRunner().invoke(cli, ["models", "check", "--json", str(BUNDLED)]).output)
    assert found["whole"] is True
    assert {part["name"] for part in found["parts"]} == {"unet", "vae", "text_encoder", "tokenizer"}


def test_the_command_does_the_sum_by_the_settings() -> None:
    env = {"SAFELIGHT_ENCODERS": "drop", "SAFELIGHT_WEIGHTS": "int8"}
    told = CliRunner().invoke(cli, ["models", "check", str(BUNDLED)], env=env).output
    assert "With encoders=drop, weights=int8: " in told
    assert "more while prompts are read." in told
