"""Where in a picture a thing is that words name: by an operator's CLIPSeg (Lüddecke and Ecker 2022).

A folder as transformers keeps it, with its weights as safetensors. Runs on the CPU, one picture at a time; knows nothing of requests.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from transformers import CLIPSegForImageSegmentation, CLIPTokenizer
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from safelight.engine.components import build
from safelight.engine.folder import folder_part
from safelight.engine.generation import Pixels
from safelight.engine.segmenters import Share
from safelight.engine.weights import read_tensors
from safelight.errors import EngineFailed, Invalid

KEPT = 1  # networks in memory
LONGEST = 77  # tokens
SURE = 0.5  # from which a pixel is of the thing


class Finder:
    """One network."""

    def __init__(self, folder: Path) -> None:
        config, find = folder_part(folder, read_tensors)
        if config.get("model_type") != "clipseg":
            raise EngineFailed(f"{folder.name} is no CLIPSeg folder: its config.json says {config.get('model_type')!r}")
        self._network: Any = build(CLIPSegForImageSegmentation, config, find)
        self._tokenizer: Any = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
        self._eye: Any = ViTImageProcessorPil.from_pretrained(folder, local_files_only=True)

    @torch.no_grad()
    def __call__(self, pixels: Pixels, words: str) -> Share:
        told = self._tokenizer([words], truncation=True, max_length=LONGEST, return_tensors="pt")
        seen = self._eye(images=pixels, return_tensors="pt").pixel_values
        answer = self._network(input_ids=told.input_ids, attention_mask=told.attention_mask, pixel_values=seen).logits
        share = torch.sigmoid(answer.reshape(answer.shape[-2:])).numpy()
        larger: Any = cv2.resize(share, pixels.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        return larger.clip(0, 1)  # type: ignore[no-any-return]


read_finder = lru_cache(KEPT)(Finder)


def finding(finders: Mapping[str, Path]) -> Callable[[str, Pixels, str], Pixels]:
    """By the names that the operator gave them: the mask of what words name in a picture, white where it is."""
    turn = threading.Lock()

    def find(name: str, pixels: Pixels, words: str) -> Pixels:
        if name not in finders:
            raise Invalid("specific_object", f"is not found here: this worker has no {name}")
        with turn:
            share = read_finder(finders[name])(pixels, words)
        return np.where(share >= SURE, 255, 0).astype(np.uint8)

    return find
