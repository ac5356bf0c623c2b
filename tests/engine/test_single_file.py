"""Single files: inferred and read as diffusers reads them, and the same model as the folder they were made from."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers.loaders import single_file_utils as oracle
from safetensors.torch import load_file, save_file

from safelight.engine.model import Model
from safelight.errors import EngineFailed

from . import checkpoints
from .oracle import denoise

WRITERS: dict[str, Callable[..., Path]] = {
    "sd1": checkpoints.write_sd1,
    "inpaint": checkpoints.write_sd1_inpaint,
    "sd2": checkpoints.write_sd2,
    "sdxl": checkpoints.write_sdxl,
}


@pytest.fixture(scope="module", params=list(WRITERS))
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A folder, and the same checkpoint as a single file."""
    folder = tmp_path_factory.mktemp(request.param)
    WRITERS[request.param](folder, clip=True)
    return folder, checkpoints.write_single_file(folder / "single.safetensors", folder)


def test_the_file_is_in_the_layout_that_diffusers_reads(pair: tuple[Path, Path]) -> None:
    folder, file = pair
    tensors = load_file(file)
    for part, convert in {"unet": oracle.convert_ldm_unet_checkpoint, "vae": oracle.convert_ldm_vae_checkpoint}.items():
        wanted = load_file(folder / part / "diffusion_pytorch_model.safetensors")
        found = convert(dict(tensors), json.loads((folder / part / "config.json").read_text()))
        assert wanted.keys() == found.keys()
        assert all(torch.equal(wanted[name], found[name].reshape(wanted[name].shape)) for name in wanted)


def test_single_file_and_folder_are_the_same_model(pair: tuple[Path, Path]) -> None:
    from_folder, from_file = (Model.load(path) for path in pair)
    a, b = from_folder._parts, from_file._parts
    assert a.keys() == b.keys()
    for name, module in a.items():
        theirs = b[name].state_dict()
        assert module.state_dict().keys() == theirs.keys()
        assert all(torch.equal(tensor, theirs[key]) for key, tensor in module.state_dict().items())


def test_single_file_and_folder_draw_the_same(pair: tuple[Path, Path]) -> None:
    from_folder, from_file = (Model.load(path) for path in pair)
    x = torch.randn(2, 4 + from_folder.family.extra_channels, 8, 8, generator=torch.Generator().manual_seed(0))
    drawn = [
        denoise(model, x, torch.tensor([5.0, 800.0]), model.encode_text(["a cat", "a photo of a red dog, 3d"]))
        for model in (from_folder, from_file)
    ]
    assert torch.equal(*drawn)
    a, b = (model.family.autoencoder.shrink(torch.ones(1)) for model in (from_folder, from_file))
    assert torch.equal(a, b)
    ours, theirs = from_file.scheduler(), from_folder.scheduler()
    assert type(ours) is type(theirs)
    assert torch.equal(ours.alphas_cumprod, theirs.alphas_cumprod)
    assert ours.config.prediction_type == theirs.config.prediction_type


def test_a_note_beside_the_file_decides_what_shapes_cannot_tell(tmp_path: Path) -> None:
    folder = checkpoints.write_sd2(tmp_path / "folder", clip=True)
    file = checkpoints.write_single_file(tmp_path / "single.safetensors", folder)
    (tmp_path / "single.json").write_text(json.dumps({"prediction_type": "epsilon", "native_size": 64}))
    model = Model.load(file)
    assert model.scheduler().config.prediction_type == "epsilon"
    assert model.native_size == 64


def test_the_marks_of_trainers_are_read(tmp_path: Path) -> None:
    folder = checkpoints.write_sdxl(tmp_path / "folder", clip=True)
    file = checkpoints.write_single_file(tmp_path / "single.safetensors", folder)
    save_file(load_file(file) | {"v_pred": torch.empty(0), "ztsnr": torch.empty(0)}, file)
    config = Model.load(file).scheduler().config
    assert config.prediction_type == "v_prediction"
    assert config.rescale_betas_zero_snr


@pytest.mark.parametrize(
    ("drop", "why"),
    [
        ("cond_stage_model.", "no known text encoder"),
        ("model.diffusion_model.input_blocks.0.0.weight", "it has no model.diffusion_model.input_blocks.0.0.weight"),
        ("first_stage_model.decoder.conv_in.weight", "lacks 1 weights, decoder.conv_in.weight for one"),
    ],
)
def test_a_file_with_parts_missing_is_refused_by_name(tmp_path: Path, drop: str, why: str) -> None:
    folder = checkpoints.write_sd1(tmp_path / "folder", clip=True)
    file = checkpoints.write_single_file(tmp_path / "single.safetensors", folder)
    save_file({name: tensor for name, tensor in load_file(file).items() if not name.startswith(drop)}, file)
    with pytest.raises(EngineFailed, match=why):
        Model.load(file)
