"""Where text encoders are changes no bit of a picture, and the memory that they take is counted by where they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from safelight.engine.checkpoint import count_weights
from safelight.engine.families.autoencoder import Place
from safelight.engine.generation import Generation, LoraUse
from safelight.engine.graphs import Graphs
from safelight.engine.layouts import LAYOUTS
from safelight.engine.memory import EncoderPlace, Footprint, together
from safelight.engine.model import Model
from safelight.engine.passing import Passing
from safelight.engine.quantised import Bits
from safelight.engine.rows import Rows
from safelight.engine.shelf import Shelf
from safelight.errors import EngineFailed

from . import checkpoints, flow_checkpoints
from .gallery import alone

DROP, CPU, META = EncoderPlace.drop, EncoderPlace.cpu, torch.device("meta")
FAMILIES: dict[str, Callable[[Path], Path]] = {"sd1": checkpoints.write_sd1, "flux": flow_checkpoints.write_flux}


@pytest.fixture(scope="module", params=FAMILIES)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return FAMILIES[request.param](tmp_path_factory.mktemp(request.param) / "it")


def held(model: Model) -> int:
    """Bytes that the weights of text encoders really take."""
    texts = [part for name, part in model.family.networks.items() if name.startswith("text")]
    storages = {weight.untyped_storage() for text in texts for weight in text.parameters()}
    return sum(storage.nbytes() for storage in storages)


def test_wherever_prompts_are_read_the_picture_has_the_same_bits(folder: Path) -> None:
    """And dropped encoders take nothing before and afterwards."""
    models = {place: Model.load(folder, encoders=place) for place in EncoderPlace}
    assert held(models[DROP]) < held(models[CPU]) / 50
    generation = Generation("a cat", negative_prompt="red", width=64, height=64, steps=2, seed=7)
    pictures = [alone(generation, model, Rows(Graphs(), 2, exact=False))[0] for model in models.values()]
    assert all(np.array_equal(picture, pictures[0]) for picture in pictures)
    assert held(models[DROP]) < held(models[CPU]) / 50
    again, plain = (models[place].encode_text(["a dog"])[0] for place in (DROP, CPU))
    assert torch.equal(again.embedding, plain.embedding)
    assert held(models[DROP]) == held(models[CPU])


def test_prompts_are_read_on_the_cpu_and_told_to_the_device(folder: Path) -> None:
    """The device is one that holds nothing; what computes there, or leaves it, would be an error."""
    model = Model.load(folder, device=META, encoders=CPU)
    (told,) = model.encode_text(["a cat"])
    assert told.embedding.device == META
    for name, part in model.family.networks.items():
        assert {weight.device for weight in part.parameters()} == {
            torch.device("cpu") if name.startswith("text") else META
        }


def test_what_an_encoder_was_taught_outlives_its_weights(sd1: Path, tmp_path: Path) -> None:
    learned, lora = tmp_path / "wonder.safetensors", tmp_path / "lora.safetensors"
    save_file({"emb_params": torch.randn(2, 64, generator=torch.Generator().manual_seed(3))}, learned)
    plain, dropped = (
        Model.load(sd1, encoders=place, embeddings={"wonder": learned}, loras={"lora": lora}) for place in (CPU, DROP)
    )
    pairs = checkpoints.lora_pairs(plain.family.networks["text_encoder"], "q_proj", 2, 0)
    checkpoints.write_kohya_lora(lora, {"lora_te": pairs})
    for uses in ((), (LoraUse("lora", 1.0),)):
        told, again = (model.encode_text(["a wonder"], adapters=uses)[0] for model in (plain, dropped))
        assert torch.equal(told.embedding, again.embedding)
        dropped.rest()


@pytest.mark.slow
def test_a_single_file_is_read_again_too(tmp_path: Path) -> None:
    folder = checkpoints.write_sd1(tmp_path / "folder", clip=True)
    path = checkpoints.write_single_file(tmp_path / "single.safetensors", folder)
    dropped, plain = Model.load(path, encoders=DROP), Model.load(path)
    assert torch.equal(dropped.encode_text(["a cat"])[0].embedding, plain.encode_text(["a cat"])[0].embedding)


def gone() -> dict[str, nn.Module]:
    raise FileNotFoundError


@pytest.mark.parametrize(
    ("read", "why"),
    [(gone, "cannot be read again"), (lambda: {"text": nn.Linear(2, 3)}, "others than those that it was loaded from")],
)
def test_files_that_are_gone_or_others_are_told(read: Callable[[], dict[str, nn.Module]], why: str) -> None:
    passing = Passing({"text": nn.Linear(2, 2)}, Place(META, torch.float32), read)
    passing.go()
    with pytest.raises(EngineFailed, match=why), passing.there():
        pass


def test_the_budget_counts_the_largest_encoders_that_come_and_go_once(sd1: Path) -> None:
    size = count_weights(sd1).footprint(4, DROP, Bits.native)
    shelf = Shelf(dict.fromkeys("abc", sd1), "a", budget_bytes=2 * size.stays + size.passes, encoders=DROP)
    for name in "abc":
        assert shelf.wait(name).bytes == pytest.approx(size.stays, rel=0.01)
    assert [listing.name for listing in shelf.held()] == ["b", "c"]


def test_footprints_add_up_by_where_encoders_are() -> None:
    on, beside, passing = (Footprint(5, 10, 1, place) for place in (EncoderPlace.device, CPU, DROP))
    assert [together([each]) for each in (on, beside, passing)] == [16, 11, 16]
    assert together([passing, passing]) == 27
    assert together([on, beside, passing]) == 16 + 11 + 11 + 5
    assert together([on.compiled]) == 27


@pytest.mark.slow
def test_encoders_that_a_folder_lends_are_read_again_there(tmp_path: Path) -> None:
    folder = flow_checkpoints.write_flux(tmp_path / "folder")
    path = flow_checkpoints.write_lone(tmp_path / "it.safetensors", folder, LAYOUTS[0].original)
    model = Model.load(path, encoders=DROP, lenders={"Flux": folder})
    expected = Model.load(folder).encode_text(["a cat"])[0]
    assert torch.equal(model.encode_text(["a cat"])[0].embedding, expected.embedding)
