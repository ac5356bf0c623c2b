"""Words that a text encoder learned afterwards (Gal et al., 2022): files of vectors, used in a prompt by their name.

A learned word gets ids below zero, beside the vocabulary and not in it, so prompts that do not use it are read exactly
as before. Words may come later and go again; those have a spelling that no prompt has by itself. Knows nothing of requests.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import CLIPTokenizer

from safelight.engine.emphasis import Token, pieces
from safelight.engine.weights import ReadTensors, Weights, read_tensors
from safelight.errors import EngineFailed, Invalid

FIELD = "prompt"
MARK = "\ue000"  # of the private use area; taken out of prompts as they come


@dataclass(frozen=True, slots=True, eq=False)
class Concept:
    """A learned word: how a prompt may spell it, and its vectors (n, D) for each text encoder in turn."""

    spellings: tuple[str, ...]
    vectors: tuple[Tensor, ...]


def read_concept(name: str, path: Path, read: ReadTensors = read_tensors) -> Concept:
    """Read {"emb_params"}, {"<token>"} or SDXL's {"clip_l", "clip_g"}; the file's name is always a spelling."""
    tensors = read(path)
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


def spell(prompt: str, names: Mapping[str, str]) -> str:
    """With each of these spellings, in small letters, put as the word that came later by that name."""
    bare = prompt.replace(MARK, "")

    def mark(found: re.Match[str]) -> str:
        name = names.get(found[0].lower())
        return marked(name) if name else found[0]

    return any_of(names).sub(mark, bare) if names else bare


def marked(name: str) -> str:
    """The only spelling of a word that came later."""
    return f"{MARK}{name}{MARK}"


def any_of(spellings: Iterable[str]) -> re.Pattern[str]:
    """The longest first."""
    alternatives = "|".join(re.escape(each) for each in sorted(spellings, key=len, reverse=True))
    return re.compile(rf"(?<!\w)({alternatives})(?!\w)", re.IGNORECASE)


class Vocabulary:
    """A tokenizer that also knows learned words, for one text encoder."""

    def __init__(self, tokenizer: CLIPTokenizer, length: int, embedding: Embedding, place: int) -> None:
        """``place`` is that of the text encoder, whose words ``embedding`` holds, among those of the checkpoint."""
        self._tokenizer = tokenizer
        self._length = length
        self._embedding, self._place = embedding, place
        self._ids: dict[str, range] = {}
        self._learned: re.Pattern[str] | None = None
        self._turn = threading.Lock()  # padding is a state of the tokenizer, so two threads may not share it

    def fits(self, concept: Concept) -> bool:
        """Whether it has vectors as wide as this text encoder's own."""
        place = self._place
        return place < len(concept.vectors) and concept.vectors[place].shape[1] == self._embedding.width

    def learn(self, concept: Concept) -> None:
        with self._turn:
            ids = self._embedding.learn(concept.vectors[self._place])
            self._know(self._ids | {spelling.lower(): ids for spelling in concept.spellings})

    def forget(self, name: str) -> None:
        """One that came later."""
        spelling = marked(name).lower()
        with self._turn:
            if ids := self._ids.get(spelling):
                self._embedding.forget(ids)
                self._know({word: each for word, each in self._ids.items() if word != spelling})

    def _know(self, ids: dict[str, range]) -> None:
        self._ids, self._learned = ids, any_of(ids) if ids else None

    def read(self, prompts: Sequence[str]) -> Tensor:
        """The ids (B, length) of prompts, started, ended, cut and padded."""
        with self._turn:
            tokens = self._tokenizer(
                list(prompts), padding="max_length", max_length=self._length, truncation=True, return_tensors="pt"
            )
            ids: Tensor = tokens.input_ids  # (B, length)
            for row, prompt in zip(ids, prompts, strict=True):
                if MARK in prompt or (self._learned and self._learned.search(prompt)):
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
            if learned is None and MARK in piece:
                raise Invalid(FIELD, "has a word that is no longer on this server")
            ids += learned or self._tokenizer(piece, add_special_tokens=False, verbose=False).input_ids
        return ids

    def _whole(self, ids: Sequence[int]) -> Tensor:
        tokenizer = self._tokenizer
        whole = [tokenizer.bos_token_id, *ids, tokenizer.eos_token_id]
        return torch.tensor(whole + [tokenizer.pad_token_id] * (self._length - len(whole)))


class Embedding(nn.Module):
    """A token embedding where id -1 is the first learned vector, -2 the second, and so on."""

    def __init__(self, words: nn.Embedding) -> None:
        super().__init__()
        self.words, self.width = words, words.embedding_dim
        self.register_buffer("learned", words.weight.new_empty(0, self.width, dtype=torch.float32), persistent=False)

    def learn(self, vectors: Tensor) -> range:
        """Their ids. What is known keeps its own, whoever reads meanwhile."""
        before = self.get_buffer("learned")
        self.learned = torch.cat([before, vectors.to(before)])
        return range(-len(before) - 1, -len(before) - 1 - len(vectors), -1)

    def forget(self, ids: range) -> None:
        """Their places stay, empty."""
        self.get_buffer("learned")[-ids.start - 1 : -ids.stop - 1] = 0

    def forward(self, ids: Tensor) -> Tensor:
        learned = self.get_buffer("learned")
        known: Tensor = self.words(ids.clamp(min=0))
        if not len(learned):
            return known
        told = learned[(-ids - 1).clamp(min=0)]  # (B, L, D)
        return torch.where((ids < 0)[..., None], told.to(known), known)


def teach(tokenizer: CLIPTokenizer, model: nn.Module, place: int, concepts: Sequence[Concept]) -> Vocabulary:
    """Give the text encoder at ``place`` the concepts whose vectors are as wide as its own words."""
    holder = next(part for part in model.modules() if hasattr(part, "token_embedding"))
    embedding, positions = holder.token_embedding, holder.position_embedding
    assert isinstance(positions, nn.Embedding)
    if not isinstance(embedding, Embedding):  # by a family made for compiling
        assert isinstance(embedding, nn.Embedding)
        embedding = holder.token_embedding = Embedding(embedding)
    vocabulary = Vocabulary(tokenizer, positions.num_embeddings, embedding, place)
    for concept in filter(vocabulary.fits, concepts):
        vocabulary.learn(concept)
    return vocabulary
