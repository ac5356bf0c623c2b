"""Prompts through the text encoders that families have in common: CLIP's of 77 tokens, and T5's of a fixed length."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import CLIPTokenizer, Qwen2Tokenizer, T5Tokenizer

from safelight.engine.families.autoencoder import Place

CLIP_TOKENIZERS = {"CLIPTokenizer": CLIPTokenizer, "CLIPTokenizerFast": CLIPTokenizer}
T5_TOKENIZERS = {"T5Tokenizer": T5Tokenizer, "T5TokenizerFast": T5Tokenizer}
QWEN_TOKENIZERS = {"Qwen2Tokenizer": Qwen2Tokenizer, "Qwen2TokenizerFast": Qwen2Tokenizer}
SHORTEST_CLASS = 64


class Reader:
    """A tokenizer that cuts and pads to one length. Any thread may ask it, one at a time."""

    def __init__(self, tokenizer: Any, length: int, place: Place) -> None:
        self._tokenizer = tokenizer
        self._length = length
        self._place = place.text
        self._turn = threading.Lock()  # padding is a state of the tokenizer

    def __call__(self, prompts: Sequence[str]) -> Tensor:
        """The ids, (B, length)."""
        with self._turn:
            tokens = self._tokenizer(
                list(prompts), padding="max_length", max_length=self._length, truncation=True, return_tensors="pt"
            )
        return self._place.enter(tokens.input_ids)


def t5(network: Callable[..., Any], reader: Reader, prompts: Sequence[str]) -> Tensor:
    """(B, length, D); what pads a prompt is read too, as the models were trained."""
    hidden: Tensor = network(reader(prompts))[0]
    return hidden


class Words:
    """Prompts within a template, as the ids of a language model: as many as there are, cut at ``longest``."""

    def __init__(self, tokenizer: Any, template: str, longest: int, place: Place) -> None:
        self._tokenizer = tokenizer
        self._template = template
        self._longest = longest
        self._place = place.text
        self._turn = threading.Lock()  # truncation is a state of the tokenizer

    def _ids(self, prompt: str) -> list[int]:
        with self._turn:
            ids: list[int] = self._tokenizer(
                self._template.format(prompt), max_length=self._longest, truncation=True
            ).input_ids
        return ids

    def __call__(self, prompt: str) -> Tensor:
        """(1, L)."""
        return torch.tensor([self._ids(prompt)]).to(self._place.device)

    def count(self, prompt: str) -> int:
        return len(self._ids(prompt))


def length_class(tokens: int) -> int:
    """The length that texts of about this many tokens are padded to, so that they may share a call."""
    return max(SHORTEST_CLASS, 1 << (tokens - 1).bit_length())


def padded_texts(texts: Sequence[Tensor], length: int | None = None) -> tuple[Tensor, Tensor]:
    """Texts (L, D) of any lengths as (R, length, D), and which of their tokens are told, (R, length).

    Without ``length`` it is the class of the longest.
    """
    counts = torch.tensor([len(text) for text in texts])
    length = length or length_class(int(counts.max()))
    rows = torch.stack([pad(text, (0, 0, 0, length - len(text))) for text in texts])
    return rows, torch.arange(length) < counts[:, None]
