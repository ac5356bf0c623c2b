"""Captions say what pictures show, and a seed is a data set."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest
import torch

from training import dataset, evaluate, nouns, tokenizer
from training.dataset import Sprites

DATA = Path(dataset.__file__).parent / "data"


@pytest.fixture(scope="module")
def sprites() -> Sprites:
    return Sprites(DATA, 64)


def test_every_noun_is_drawn_in_every_style(sprites: Sprites) -> None:
    assert set(sprites.names) == set(nouns.NOUNS)
    assert all(
        {sprites.sprites[i].style for i in rows} == set(nouns.STYLES.values()) for rows in sprites.by_noun.values()
    )


def test_a_seed_is_a_data_set(sprites: Sprites) -> None:
    first, scenes = sprites.batch(8, Random(3))
    again, same = sprites.batch(8, Random(3))
    assert torch.equal(first, again)
    assert scenes == same
    assert first.shape == (8, 3, 64, 64)
    assert first.abs().max() <= 1


def test_the_caption_names_what_is_shown(sprites: Sprites) -> None:
    random = Random(0)
    for scene in (sprites.scene(random) for _ in range(300)):
        noun = sprites.sprites[scene.sprite].noun
        assert any(word in scene.caption for word in (noun, *nouns.NOUNS[noun][1]))
        assert scene.background in scene.caption
        assert scene.layout not in ("left", "right") or scene.layout in scene.caption


def test_the_border_has_the_asked_colour(sprites: Sprites) -> None:
    scenes = evaluate.colour_scenes(sprites)
    assert evaluate.colour(evaluate.real(sprites)(scenes), [s.background for s in scenes]) > 0.95


def test_a_lone_object_is_on_the_asked_side(sprites: Sprites) -> None:
    scenes = evaluate.place_scenes(sprites)
    real = evaluate.real(sprites)(scenes)
    assert evaluate.place(real, [s.layout for s in scenes]) > 0.95
    assert evaluate.place(real.flip(-1), [s.layout for s in scenes]) < 0.05


def test_every_source_has_a_permissive_licence() -> None:
    licences = json.loads((DATA / "LICENCES.json").read_text())
    assert set(licences) == set(nouns.STYLES)
    assert all(
        about["license"] in ("MIT", "Apache-2.0", "CC-BY-4.0") and about["author"] and about["version"]
        for about in licences.values()
    )


def test_the_tokenizer_is_rebuilt_from_its_merges(tmp_path: Path) -> None:
    merges = (DATA / "tokenizer" / "merges.txt").read_text().splitlines()[1:]
    tokenizer.write(merges, tmp_path)
    for name in ("vocab.json", "merges.txt", "special_tokens_map.json"):
        assert (tmp_path / name).read_text() == (DATA / "tokenizer" / name).read_text()
