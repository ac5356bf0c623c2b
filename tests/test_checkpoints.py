"""A checkpoint's card: what it says is what callers get who say nothing, and what cannot be obeyed is told at the start."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from safelight.checkpoints import read_wants
from safelight.errors import SetupFailed
from safelight.records import Wants
from safelight.settings import Settings, read_settings


def settings_for(tmp_path: Path, card: str | None) -> Settings:
    folder, file = tmp_path / "folder", tmp_path / "file.safetensors"
    folder.mkdir()
    if card is not None:
        (folder / "safelight.json").write_text(card)
        (tmp_path / "file.json").write_text(card)
    return read_settings().model_copy(update={"models": {"folder": folder, "file": file}})


@pytest.mark.parametrize(
    ("card", "wants"),
    [
        (None, Wants(20, 7.5)),
        ('{"native_size": 128}', Wants(20, 7.5)),
        ('{"guidance_scale": 4, "steps": 30, "guidance_rescale": 0.7, "nouns": ["cat"]}', Wants(30, 4.0)),
        ('{"repaints": false}', Wants(repaints=False)),
    ],
)
def test_the_card_beside_a_checkpoint_is_read(tmp_path: Path, card: str | None, wants: Wants) -> None:
    assert read_wants(settings_for(tmp_path, card)) == {"folder": wants, "file": wants}


def test_a_kind_that_edits_is_known_by_its_pipeline_or_its_note(tmp_path: Path) -> None:
    given = settings_for(tmp_path, '{"family": "Kontext", "steps": 28}')
    told = {"_class_name": "QwenImageEditPlusPipeline"}
    (tmp_path / "folder" / "model_index.json").write_text(json.dumps(told))
    (tmp_path / "folder" / "safelight.json").unlink()
    kontext = Wants(steps=28, guidance_scale=2.5, pictures=4)
    assert read_wants(given) == {"folder": Wants(guidance_scale=4.0, pictures=4), "file": kontext}


@pytest.mark.parametrize(
    ("card", "said"),
    [
        ("{", "Invalid JSON"),
        ('{"guidance_scale": 40}', "guidance_scale"),
        ('{"steps": "many"}', "steps"),
        ('{"guidance_rescale": 2}', "guidance_rescale"),
    ],
)
def test_a_card_that_cannot_be_obeyed_is_named(tmp_path: Path, card: str, said: str) -> None:
    with pytest.raises(SetupFailed) as failed:
        read_wants(settings_for(tmp_path, card))
    assert "of checkpoint folder cannot be obeyed" in failed.value.message
    assert said in failed.value.message
