"""Words that a text encoder learned afterwards (Gal et al., 2022): files of vectors, used in a prompt by their name.

A learned word gets ids below zero, beside the vocabulary and not in it, so prompts that do not use it are read exactly
as before. Knows nothing of requests or of where files come from.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import CLIPTokenizer

from safelight.engine.emphasis import Token, pieces
from safelight.engine.weights import Weights, read_tensors
from safelight.errors import EngineFailed


@dataclass(frozen=True, slots=True, eq=False)
class Concept:
    """A learned word: how a prompt may spell it, and its vectors (n, D) for each text encoder in turn."""

    spellings: tuple[str, ...]
    vectors: tuple[Tensor, ...]


def read_concept(name: str, path: Path) -> Concept:
    """Read {"emb_params"}, {"<token>"} or SDXL's {"clip_l", "clip_g"}; the file's name is always a spelling."""
    tensors = read_tensors(path)
    spellings, vectors = _spellings_and_vectors(tensors)
    if not vectors or any(vector.ndim not in (1, 2) or vector.numel() == 0 for vector in vectors):
        raise EngineFailed(f"The embedding {name} is in no layout that Safelight knows")
    return Concept((name, f"<{name}>", *spellings), tuple(vector.reshape(-1, vector.shape[-1]) for vector in vectors))


def _spellings_and_vectors(tensors: Weights) -> tuple[list[str], list[Tensor]]:
    if "clip_g" in tensors:
        return [], [tensors[key] for key in ("clip_l", "clip_g") if key in tensors]
    if "emb_params" in tensors:
        return [], [tensors["emb_params"]]
    return (list(tensors), list(tensors.values())) if len(tensors) == 1 else ([], [])


class Vocabulary:
    """A tokenizer that also knows learned words, for one text encoder."""

    def __init__(self, tokenizer: CLIPTokenizer, length: int, words: Mapping[str, Tensor]) -> None:
        self._tokenizer = tokenizer
        self._length = length
        self._ids = _ids_below_zero(words)
        alternatives = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
        self._learned = re.compile(rf"(?<!\w)({alternatives})(?!\w)", re.IGNORECASE) if words else None
        self._turn = threading.Lock()  # padding is a state of the tokenizer, so two threads may not share it

    def read(self, prompts: Sequence[str]) -> Tensor:
        """The ids (B, length) of prompts, started, ended, cut and padded."""
        with self._turn:
            tokens = self._tokenizer(
                list(prompts), padding="max_length", max_length=self._length, truncation=True, return_tensors="pt"
            )
            ids: Tensor = tokens.input_ids  # (B, length)
            for row, prompt in zip(ids, prompts, strict=True):
                if self._learned and self._learned.search(prompt):
                    row.copy_(self._whole(self._bare(prompt)[: self._length - 2]))
        return ids

    def pieces(self, prompt: str) -> list[list[Token]]:
        """The tokens of a prompt whose words are weighed, as many at a time as the text encoder reads."""
        with self._turn:
            return pieces(prompt, self._bare, self._bare(",")[0], self._length - 2)

    def read_pieces(self, prompt: str, count: int) -> tuple[Tensor, Tensor]:
        """The ids (count, length) of its pieces and of empty ones after them, and how much each counts."""
        found = self.pieces(prompt)
        filled = [*found, *([[]] * (count - len(found)))][:count]
        ids = torch.stack([self._whole([token.id for token in piece]) for piece in filled])
        weights = torch.ones(ids.shape)
        for row, piece in zip(weights, filled, strict=True):
            row[1 : len(piece) + 1] = torch.tensor([token.weight for token in piece])
        return ids, weights

    def _bare(self, text: str) -> list[int]:
        """Its ids, neither started nor ended."""
        ids: list[int] = []
        for piece in self._learned.split(text) if self._learned else [text]:
            learned = self._ids.get(piece.lower())
            ids += learned or self._tokenizer(piece, add_special_tokens=False, verbose=False).input_ids
        return ids

    def _whole(self, ids: Sequence[int]) -> Tensor:
        tokenizer = self._tokenizer
        whole = [tokenizer.bos_token_id, *ids, tokenizer.eos_token_id]
        return torch.tensor(whole + [tokenizer.pad_token_id] * (self._length - len(whole)))


def _ids_below_zero(words: Mapping[str, Tensor]) -> dict[str, range]:
    ids, taken = {}, 0
    for word, vectors in words.items():
        ids[word.lower()] = range(-taken - 1, -taken - 1 - len(vectors), -1)
        taken += len(vectors)
    return ids


class Embedding(nn.Module):
    """A token embedding where id -1 is the first learned vector, -2 the second, and so on."""

    def __init__(self, words: nn.Module, learned: Tensor) -> None:
        super().__init__()
        self.words = words
        self.register_buffer("learned", learned, persistent=False)

    def forward(self, ids: Tensor) -> Tensor:
        learned = self.get_buffer("learned")[(-ids - 1).clamp(min=0)]  # (B, L, D)
        known: Tensor = self.words(ids.clamp(min=0))
        return torch.where((ids < 0)[..., None], learned.to(known), known)


def teach(tokenizer: CLIPTokenizer, model: nn.Module, place: int, concepts: Sequence[Concept]) -> Vocabulary:
    """Give the text encoder at ``place`` the concepts whose vectors are as wide as its own words."""
    holder = next(part for part in model.modules() if hasattr(part, "token_embedding"))
    embedding, positions = holder.token_embedding, holder.position_embedding
    assert isinstance(embedding, nn.Embedding)
    assert isinstance(positions, nn.Embedding)
    words = {
        spelling: concept.vectors[place]
        for concept in concepts
        if place < len(concept.vectors) and concept.vectors[place].shape[1] == embedding.embedding_dim
        for spelling in concept.spellings
    }
    if words:
        holder.token_embedding = Embedding(embedding, torch.cat(list(words.values())))
    return Vocabulary(tokenizer, positions.num_embeddings, words)
