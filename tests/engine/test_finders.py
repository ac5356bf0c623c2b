"""Where a named thing is, by a small CLIPSeg of the true architecture: equal to transformers' own way of asking it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import CLIPSegForImageSegmentation, CLIPSegProcessor, CLIPTokenizer
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from safelight.engine.finders import Finder, finding
from safelight.errors import EngineFailed, Invalid

from .finder_folder import SIDE, write_finder
from .oracle import picture


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_finder(tmp_path_factory.mktemp("finder"))


def test_it_answers_as_transformers_does(folder: Path) -> None:
    eye = ViTImageProcessorPil.from_pretrained(folder, local_files_only=True)
    asked = CLIPSegProcessor(eye, CLIPTokenizer.from_pretrained(folder, local_files_only=True))
    network = CLIPSegForImageSegmentation.from_pretrained(folder, local_files_only=True).eval()
    shown = picture(SIDE, SIDE)
    with torch.no_grad():
        logits = network(**asked(text=["a red cat"], images=[shown], return_tensors="pt")).logits
    found = Finder(folder)(shown, "a red cat")
    assert found.shape == (SIDE, SIDE)
    assert np.abs(found - torch.sigmoid(logits.reshape(SIDE, SIDE)).numpy()).max() < 1e-5


def test_the_mask_has_the_pictures_size_and_two_values(folder: Path) -> None:
    find = finding({"clipseg": folder})
    mask = find("clipseg", picture(96, 80), "a cat " * 100)
    assert mask.shape == (80, 96)
    assert set(np.unique(mask).tolist()) <= {0, 255}
    with pytest.raises(Invalid, match="this worker has no other"):
        find("other", picture(), "a cat")


def test_another_kind_of_folder_is_refused_by_name(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    (tmp_path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    with pytest.raises(EngineFailed, match="is no CLIPSeg folder"):
        Finder(tmp_path)
