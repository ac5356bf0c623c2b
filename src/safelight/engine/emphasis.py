"""Prompts as users of AUTOMATIC1111's web UI write them: (more), [less], (by so much:1.3), and longer than a text encoder
reads at once, which then reads them piece by piece.

Knows words, weights and token ids; knows nothing of networks but that their answers are tensors.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

MORE = 1.1  # of a pair of round brackets; square ones take it back
BACKTRACK = 20  # tokens before a piece's end among which a comma may end it
MOST_PIECES = 10
SIGN = re.compile(r"\\[()\[\]\\]|[()\[\]]|:\s*[+-]?(?:\d+\.?\d*|\.\d+)\s*\)")
BREAK = re.compile(r"\s*\bBREAK\b\s*")
ENDS = {")": MORE, "]": 1 / MORE}
OPENS = {"(": MORE, "[": 1 / MORE}


class Fragment(NamedTuple):
    """Words that count equally."""

    text: str
    weight: float


class Token(NamedTuple):
    """An id of a vocabulary, and how much it counts."""

    id: int
    weight: float


def parse(prompt: str) -> list[Fragment]:
    """What is not closed counts to the end; a backslash before a bracket leaves it as it is."""
    found: list[Fragment] = []
    opened: dict[str, list[int]] = {"(": [], "[": []}
    rest = 0
    for sign in SIGN.finditer(prompt):
        found.append(Fragment(prompt[rest : sign.start()], 1.0))
        found.append(Fragment(_literal(sign[0], found, opened), 1.0))
        rest = sign.end()
    found.append(Fragment(prompt[rest:], 1.0))
    for bracket, places in opened.items():
        for place in places:
            _weigh(found, place, OPENS[bracket])
    return _merged(found)


def _literal(sign: str, found: list[Fragment], opened: dict[str, list[int]]) -> str:
    """What a sign says as text, after it has had its effect on what was found before it."""
    if sign.startswith("\\"):
        return sign[1:]
    if sign in OPENS:
        opened[sign].append(len(found))
        return ""
    places = opened["[" if sign == "]" else "("]
    if not places:
        return sign
    _weigh(found, places.pop(), ENDS.get(sign) or float(sign[1:-1]))
    return ""


def _weigh(found: list[Fragment], place: int, factor: float) -> None:
    found[place:] = [Fragment(text, weight * factor) for text, weight in found[place:]]


def _merged(found: Sequence[Fragment]) -> list[Fragment]:
    merged: list[Fragment] = []
    for text, weight in found:
        if merged and text and merged[-1].weight == weight:
            merged[-1] = Fragment(merged[-1].text + text, weight)
        elif text:
            merged.append(Fragment(text, weight))
    return merged or [Fragment("", 1.0)]


def pieces(prompt: str, ids: Callable[[str], Sequence[int]], comma: int, room: int) -> list[list[Token]]:
    """A prompt's tokens in pieces of at most ``room``; BREAK ends one, and so does a comma shortly before it is full."""
    done: list[list[Token]] = []
    current: list[Token] = []
    for text, weight in parse(prompt):
        for i, part in enumerate(BREAK.split(text)):
            if i:
                done, current = [*done, current], []
            for token in (Token(each, weight) for each in ids(part)):
                if len(current) == room:
                    end = room if token.id == comma else _end(current, comma)
                    done, current = [*done, current[:end]], current[end:]
                current.append(token)
    return [*done, current][:MOST_PIECES]


def _end(full: Sequence[Token], comma: int) -> int:
    places = range(len(full) - 1, max(len(full) - BACKTRACK, 0) - 1, -1)
    return next((place + 1 for place in places if full[place].id == comma), len(full))


def emphasised(hidden: Tensor, weights: Tensor) -> Tensor:
    """What a text encoder said (P, L, D), each token by its weight (P, L), and the mean of each piece as it was."""
    weighed = hidden * weights.to(hidden)[..., None]
    means = hidden.mean((1, 2), keepdim=True), weighed.mean((1, 2), keepdim=True)
    plain = (weights == 1).all(dim=1).to(hidden.device)[:, None, None]  # which keeps its very bits
    return torch.where(plain, hidden, weighed * (means[0] / means[1]))
