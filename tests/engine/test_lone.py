"""Transformers alone in one file: in the layout that diffusers' converters read, and the same pictures as the folder."""

from __future__ import annotations

import inspect as source_of
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.loaders import single_file_utils as oracle
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from safelight.cli import cli
from safelight.engine import compvis
from safelight.engine.checkpoint import count_weights, read_components
from safelight.engine.generation import Generation
from safelight.engine.graphs import Graphs
from safelight.engine.inspection import inspect
from safelight.engine.layouts import BEFORE, LAYOUTS, Layout
from safelight.engine.model import Model
from safelight.engine.rows import Rows
from safelight.errors import EngineFailed
from safelight.settings import BORROWERS

from . import flow_checkpoints
from .gallery import alone
from .oracle import half_mask, picture

FLUX, SD3, QWEN, Z_IMAGE = LAYOUTS
WRITERS: dict[str, tuple[Layout, Callable[[Path], Path]]] = {
    "flux": (FLUX, flow_checkpoints.write_flux),
    "fill": (FLUX, flow_checkpoints.write_fill),
    "sd3": (SD3, flow_checkpoints.write_sd3),
    "qwen": (QWEN, flow_checkpoints.write_qwen),
    "z-image": (Z_IMAGE, flow_checkpoints.write_z_image),
}


def flux_converter(tensors: dict[str, Any]) -> Any:
    """diffusers' own, which is written for one width."""
    source = source_of.getsource(oracle.convert_flux_transformer_checkpoint_to_diffusers)
    known = dict(vars(oracle))
    exec(source.replace("inner_dim = 3072", f"inner_dim = {flow_checkpoints.WIDTH}"), known)
    return known["convert_flux_transformer_checkpoint_to_diffusers"](tensors)


CONVERTERS: dict[Layout, Callable[[dict[str, Any]], Any]] = {
    FLUX: flux_converter,
    SD3: oracle.convert_sd3_transformer_checkpoint_to_diffusers,
    QWEN: dict,
    Z_IMAGE: oracle.convert_z_image_transformer_checkpoint_to_diffusers,
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: write(tmp_path_factory.mktemp(name)) for name, (_, write) in WRITERS.items()}


def alone_in_a_file(folders: dict[str, Path], name: str, path: Path, before: str = "") -> Path:
    return flow_checkpoints.write_lone(path / "it.safetensors", folders[name], WRITERS[name][0].original, before)


def drawn(model: Model) -> Any:
    generation = Generation(prompt="a red cat", width=64, height=32, steps=2, seed=4)
    if model.family.masks:
        generation = replace(generation, init_image=picture(64, 32), mask_image=half_mask(64, 32))
    return alone(generation, model, Rows(Graphs(), 2, exact=True))[0]


def same(ours: Model, theirs: Model) -> bool:
    """To the last weight."""
    a, b = ([*model.family.networks.items()] for model in (ours, theirs))
    states = [{f"{part} {key}": x for part, net in each for key, x in net.state_dict().items()} for each in (a, b)]
    return states[0].keys() == states[1].keys() and all(torch.equal(x, states[1][key]) for key, x in states[0].items())


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_draws_what_the_folder_draws(name: str, folders: dict[str, Path], tmp_path: Path) -> None:
    layout, folder = WRITERS[name][0], folders[name]
    before = BEFORE if name == "sd3" else ""
    file = alone_in_a_file(folders, name, tmp_path, before)
    found = CONVERTERS[layout](load_file(file))
    wanted = load_file(folder / "transformer" / "diffusion_pytorch_model.safetensors")
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[key], wanted[key]) for key in wanted)
    lenders = {layout.families[0].__name__: folder}
    ours, theirs = Model.load(file, lenders=lenders), Model.load(folder)
    assert same(ours, theirs)
    assert np.array_equal(drawn(ours), drawn(theirs))
    assert ours.scheduler().config == theirs.scheduler().config
    assert count_weights(file, lenders) == count_weights(folder)
    assert inspect(file, lenders).whole
    assert inspect(file, lenders).apart == inspect(folder).apart
    assert inspect(file, lenders).tasks == inspect(folder).tasks


def test_diffusers_names_and_what_else_the_file_holds_are_read(folders: dict[str, Path], tmp_path: Path) -> None:
    """As Stable Diffusion 3 is handed round with its text encoders: the folder then needs no weights at all."""
    file = alone_in_a_file(folders, "sd3", tmp_path, BEFORE)
    folder = Path(shutil.copytree(folders["sd3"], tmp_path / "folder"))
    tensors = load_file(file)
    for part, before in {**SD3.inside, "vae": "first_stage_model."}.items():
        (weights,) = (folder / part).glob("*.safetensors")
        names = (lambda name: compvis.vae_name(name, 4)) if part == "vae" else str
        tensors |= {before + names(name): tensor for name, tensor in load_file(weights).items()}
    for weights in folder.rglob("*.safetensors"):
        weights.unlink()
    save_file(tensors, file)
    lenders = {"StableDiffusion3": folder}
    assert same(Model.load(file, lenders=lenders), Model.load(folders["sd3"]))
    assert inspect(file, lenders).whole
    del tensors[f"{SD3.inside['text_encoder']}text_projection.weight"]
    save_file(tensors, file)
    encoder: Any = read_components(file, lenders=lenders).parts.networks["text_encoder"]
    assert torch.equal(encoder.text_projection.weight, torch.eye(64))
    plain = shutil.copy(folders["flux"] / "transformer" / "diffusion_pytorch_model.safetensors", tmp_path / "plain")
    assert same(Model.load(Path(plain), lenders={"Flux": folders["flux"]}), Model.load(folders["flux"]))


def test_what_a_note_says_and_what_the_file_wants_of_its_scheduler(folders: dict[str, Path], tmp_path: Path) -> None:
    schnell = flow_checkpoints.write_schnell(tmp_path / "schnell")
    file = flow_checkpoints.write_lone(tmp_path / "it.safetensors", schnell, FLUX.original)
    lenders = {"Flux": folders["flux"]}
    assert Model.load(file, lenders=lenders).scheduler().config == Model.load(schnell).scheduler().config
    (tmp_path / "it.json").write_text('{"family": "Kontext", "native_size": 64}')
    assert inspect(file, lenders).family == "Kontext"
    assert Model.load(file, lenders=lenders).family.edits
    (tmp_path / "it.json").write_text('{"family": "ZImage"}')
    with pytest.raises(EngineFailed, match="noted to be of the family 'ZImage', and holds a Flux"):
        Model.load(file, lenders=lenders)


def test_what_is_missing_is_named_with_the_setting(folders: dict[str, Path], tmp_path: Path) -> None:
    file = alone_in_a_file(folders, "z-image", tmp_path)
    with pytest.raises(EngineFailed, match=r"a transformer alone; SAFELIGHT_COMPONENTS names the folder"):
        Model.load(file)
    told = CliRunner().invoke(cli, ["models", "check", str(file)])
    assert told.exit_code == 1
    assert told.output.startswith("ZImage: text2img, img2img, inpaint\n")
    assert "SAFELIGHT_COMPONENTS" in told.output
    lent = {"SAFELIGHT_COMPONENTS": json.dumps({"ZImage": str(folders["z-image"])})}
    assert CliRunner().invoke(cli, ["models", "check", str(file)], env=lent).exit_code == 0
    assert {family.__name__ for layout in LAYOUTS for family in layout.families} == {*BORROWERS}


def test_packed_weights_and_other_transformers_are_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    file, lenders = alone_in_a_file(folders, "flux", tmp_path), {"Flux": folders["flux"]}
    whole = load_file(file)
    save_file(whole | {"scaled_fp8": torch.empty(0)}, file)
    with pytest.raises(EngineFailed, match="are packed, scaled_fp8 says how"):
        Model.load(file, lenders=lenders)
    save_file(whole | {"img_in.weight": torch.zeros(32, 128)}, file)
    with pytest.raises(EngineFailed, match="reads 128 channels"):
        inspect(file, lenders)
    save_file({name: tensor for name, tensor in whole.items() if "txt_mlp" not in name}, file)
    (lacks,) = {part.lacks for part in inspect(file, lenders).parts if part.lacks}
    assert lacks == "4 weights are not there, transformer_blocks.0.ff_context.net.0.proj.weight for one"
