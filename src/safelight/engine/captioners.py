"""What a picture shows, said in words: by an operator's BLIP (Li et al. 2022) or GIT (Wang et al. 2022).

A folder as transformers keeps it, with its weights as safetensors. Runs on the CPU, one picture at a time, and leaves nothing to chance;
knows nothing of requests.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from transformers import BertTokenizer, BlipForConditionalGeneration, GitForCausalLM
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from safelight.engine.components import build
from safelight.engine.folder import folder_part
from safelight.engine.generation import Pixels
from safelight.engine.weights import read_tensors
from safelight.errors import EngineFailed, Invalid

KEPT = 1  # networks in memory
BEAMS = 3  # as the authors of both search for a sentence
LENGTHS = {"short": (1, 12), "normal": (5, 30), "long": (25, 75)}  # tokens: the fewest and the most
KINDS: dict[str, tuple[Any, Any]] = {  # the network, and what makes tensors of a picture for it
    "BlipForConditionalGeneration": (BlipForConditionalGeneration, BlipImageProcessorPil),
    "GitForCausalLM": (GitForCausalLM, CLIPImageProcessorPil),
}


class Captioner:
    """One network."""

    def __init__(self, folder: Path) -> None:
        config, find = folder_part(folder, read_tensors)
        name = str(next(iter(config.get("architectures") or []), None))
        if name not in KINDS:
            raise EngineFailed(f"{folder.name} is not a captioning network that Safelight runs: {', '.join(KINDS)}")
        network, eye = KINDS[name]
        self._network: Any = build(network, config, find)
        self._tokenizer: Any = BertTokenizer.from_pretrained(folder, local_files_only=True)
        self._eye: Any = eye.from_pretrained(folder, local_files_only=True)

    @torch.no_grad()
    def __call__(self, pixels: Pixels, length: str) -> str:
        seen = self._eye(images=pixels, return_tensors="pt").pixel_values
        fewest, most = LENGTHS[length]
        tokens = self._network.generate(
            pixel_values=seen, num_beams=BEAMS, do_sample=False, min_new_tokens=fewest, max_new_tokens=most
        )
        return str(self._tokenizer.decode(tokens[0], skip_special_tokens=True)).strip()


read_captioner = lru_cache(KEPT)(Captioner)


def captioning(captioners: Mapping[str, Path]) -> Callable[[str, Pixels, str], str]:
    """By the names that the operator gave them: what a picture shows, in a sentence of the length that is asked for."""
    turn = threading.Lock()

    def say(name: str, pixels: Pixels, length: str) -> str:
        if name not in captioners:
            raise Invalid("init_image", f"is not put into words here: this worker has no {name}")
        with turn:
            return read_captioner(captioners[name])(pixels, length)

    return say
