"""Learned words: equal to diffusers, by every spelling, and unseen by prompts that do not use them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from safetensors.torch import save_file
from torch import Tensor
from torch.testing import assert_close

from safelight.engine.generation import Generation
from safelight.engine.model import Model
from safelight.engine.plan import make_plan
from safelight.engine.samplers import Samplers
from safelight.errors import EngineFailed, Invalid


def vectors(count: int, seed: int = 0) -> Tensor:
    return torch.randn(count, 64, generator=torch.Generator().manual_seed(seed))


def write(path: Path, tensors: dict[str, Tensor]) -> Path:
    save_file(tensors, path)
    return path


def encode(pipeline: Any, prompt: str) -> Tensor:
    with torch.no_grad():
        encoded: Tensor = pipeline.encode_prompt(
            prompt, device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=False
        )[0]
    return encoded[0]


@pytest.mark.parametrize("layout", ["emb_params", "<wonder>"])
@pytest.mark.parametrize("count", [1, 3])
def test_equal_to_diffusers(sd1: Path, tmp_path: Path, layout: str, count: int) -> None:
    path = write(tmp_path / "wonder.safetensors", {layout: vectors(count)})
    pipeline = StableDiffusionPipeline.from_pretrained(sd1, local_files_only=True)
    pipeline.load_textual_inversion(str(tmp_path), weight_name=path.name, token="<wonder>")
    model = Model.load(sd1, embeddings={"wonder": path})
    prompt = "a red <wonder>, of a cat"
    assert_close(model.encode_text([prompt])[0].embedding, encode(pipeline, prompt))


def test_equal_to_diffusers_on_both_encoders_of_sdxl(sdxl: Path, tmp_path: Path) -> None:
    both = {"clip_l": vectors(2, 1), "clip_g": vectors(2, 2)}
    pipeline = StableDiffusionXLPipeline.from_pretrained(sdxl, local_files_only=True)
    pipeline.load_textual_inversion(
        both["clip_l"], token="<wonder>", text_encoder=pipeline.text_encoder, tokenizer=pipeline.tokenizer
    )
    pipeline.load_textual_inversion(
        both["clip_g"], token="<wonder>", text_encoder=pipeline.text_encoder_2, tokenizer=pipeline.tokenizer_2
    )
    model = Model.load(sdxl, embeddings={"wonder": write(tmp_path / "w.safetensors", both)})
    assert_close(model.encode_text(["a <wonder> cat"])[0].embedding, encode(pipeline, "a <wonder> cat"))


def test_every_spelling_means_the_same(sd1: Path, tmp_path: Path) -> None:
    model = Model.load(sd1, embeddings={"wonder": write(tmp_path / "w.safetensors", {"<other>": vectors(2)})})
    rows = model.encode_text(["a wonder cat", "a <wonder> cat", "a <other> cat", "a Wonder cat", "a wonders cat"])
    assert all(torch.equal(rows[0].embedding, row.embedding) for row in rows[1:4])
    assert not torch.equal(rows[0].embedding, rows[4].embedding)


def test_prompts_without_the_word_are_read_as_before(sd1: Path, tmp_path: Path) -> None:
    plain = Model.load(sd1)
    taught = Model.load(sd1, embeddings={"wonder": write(tmp_path / "w.safetensors", {"emb_params": vectors(2)})})
    alone = plain.encode_text(["a red cat"])[0].embedding
    assert torch.equal(alone, taught.encode_text(["a red cat"])[0].embedding)
    beside = taught.encode_text(["a red cat", "a wonder"])[0].embedding
    assert torch.equal(plain.encode_text(["a red cat", "a cat"])[0].embedding, beside)


def test_a_long_prompt_is_cut_at_the_encoders_length(sd1: Path, tmp_path: Path) -> None:
    model = Model.load(sd1, embeddings={"wonder": write(tmp_path / "w.safetensors", {"emb_params": vectors(60)})})
    assert model.encode_text(["wonder wonder wonder"])[0].embedding.shape == (77, 64)


def test_a_word_of_another_architecture_stays_text(sd1: Path, tmp_path: Path) -> None:
    wide = write(tmp_path / "w.safetensors", {"emb_params": torch.zeros(2, 65)})
    taught = Model.load(sd1, embeddings={"wonder": wide}).encode_text(["a wonder"])[0].embedding
    assert torch.equal(taught, Model.load(sd1).encode_text(["a wonder"])[0].embedding)


def test_a_file_in_no_known_layout_is_refused(sd1: Path, tmp_path: Path) -> None:
    odd = write(tmp_path / "w.safetensors", {"a": vectors(1), "b": vectors(1)})
    with pytest.raises(EngineFailed, match="The embedding wonder is in no layout that Safelight knows"):
        Model.load(sd1, embeddings={"wonder": odd})


def later(word: str, name: str, prompt: str) -> Generation:
    return Generation(prompt, negative_prompt=f"no {prompt}", words={word: name}, width=64, height=64)


def test_a_word_that_comes_later_is_read_as_one_that_was_there(sd1: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "w.safetensors", {"<other>": vectors(2)})
    there = Model.load(sd1, embeddings={"wonder": path})
    words: dict[str, Path] = {}
    model = Model.load(sd1, words=words)
    expected = there.encode_text(["a wonder cat", "no a wonder cat"])
    words["installed 7"] = path
    for spelling in ("wonder", "<Wonder>", "<other>"):
        told = make_plan(later("wonder", "installed 7", f"a {spelling} cat"), model, Samplers()).generation
        for row, same in zip(model.encode_text([told.prompt, told.negative_prompt]), expected, strict=True):
            assert torch.equal(row.embedding, same.embedding)


def test_who_does_not_ask_for_a_later_word_has_it_not_and_neither_has_anybody_once_it_is_gone(
    sd1: Path, tmp_path: Path
) -> None:
    words = {"installed 7": write(tmp_path / "w.safetensors", {"emb_params": vectors(2)})}
    model, plain = Model.load(sd1, words=words), Model.load(sd1).encode_text(["a wonder", "installed 7"])
    mine = make_plan(later("wonder", "installed 7", "a wonder"), model, Samplers()).generation.prompt
    for prompt, same in zip(("a wonder", "\ue000installed 7\ue000"), plain, strict=True):
        told = make_plan(Generation(prompt, width=64, height=64), model, Samplers()).generation.prompt
        assert torch.equal(model.encode_text([told])[0].embedding, same.embedding)
    assert not torch.equal(model.encode_text([mine])[0].embedding, plain[0].embedding)
    words.clear()
    model.forget("installed 7")
    with pytest.raises(Invalid, match="has a word that is no longer on this server"):
        model.encode_text([mine])
    with pytest.raises(Invalid, match="has the word wonder, which is no longer on this server"):
        make_plan(later("wonder", "installed 7", "a wonder"), model, Samplers())


def test_a_later_word_of_another_architecture_is_refused(sd1: Path, tmp_path: Path) -> None:
    model = Model.load(
        sd1, words={"installed 7": write(tmp_path / "w.safetensors", {"emb_params": torch.zeros(2, 65)})}
    )
    with pytest.raises(Invalid, match="has the word wonder, which was learned for another kind of checkpoint"):
        make_plan(later("wonder", "installed 7", "a wonder"), model, Samplers())
