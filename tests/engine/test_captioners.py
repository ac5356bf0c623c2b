"""What a picture shows, by small networks of the true architectures: the words are those of transformers' own way of asking them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertTokenizer, BlipForConditionalGeneration, GitForCausalLM
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from safelight.engine.captioners import BEAMS, LENGTHS, Captioner, captioning
from safelight.errors import EngineFailed, Invalid

from .captioner_folder import write_captioner
from .oracle import picture

KINDS: dict[str, tuple[Any, Any]] = {
    "blip": (BlipForConditionalGeneration, BlipImageProcessorPil),
    "git": (GitForCausalLM, CLIPImageProcessorPil),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {kind: write_captioner(tmp_path_factory.mktemp(kind), kind) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_it_says_what_transformers_says(folders: dict[str, Path], kind: str) -> None:
    network, eye = (each.from_pretrained(folders[kind], local_files_only=True) for each in KINDS[kind])
    tokenizer = BertTokenizer.from_pretrained(folders[kind], local_files_only=True)
    shown, captioner = picture(48, 40), Captioner(folders[kind])
    for length, (fewest, most) in {"short": LENGTHS["short"], "normal": LENGTHS["normal"]}.items():
        with torch.no_grad():
            tokens = network.eval().generate(
                pixel_values=eye(images=shown, return_tensors="pt").pixel_values,
                num_beams=BEAMS, do_sample=False, min_new_tokens=fewest, max_new_tokens=most,
            )  # fmt: skip
        assert captioner(shown, length) == tokenizer.decode(tokens[0], skip_special_tokens=True).strip()


def test_a_name_that_is_not_here_and_another_kind_of_folder_are_refused(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(Invalid, match="this worker has no other"):
        captioning(folders)("other", picture(), "short")
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["BertModel"]}))
    (tmp_path / "model.safetensors").write_bytes((folders["git"] / "model.safetensors").read_bytes())
    with pytest.raises(EngineFailed, match="is not a captioning network that Safelight runs"):
        Captioner(tmp_path)
