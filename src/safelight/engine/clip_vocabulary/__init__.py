"""The vocabulary of OpenAI's CLIP (MIT, see LICENSE here), which every Stable Diffusion text encoder reads with.

Single-file checkpoints hold no tokenizer, so its 48,894 merges travel with the package; words and ids follow from them.
"""

from __future__ import annotations

import gzip
from functools import cache
from importlib.resources import files

from transformers import CLIPTokenizer

START, END = "<|startoftext|>", "<|endoftext|>"


def clip_tokenizer(pad: str = END, length: int = 77) -> CLIPTokenizer:
    """CLIP's tokenizer. Stable Diffusion 1 pads with the end token; OpenCLIP's text encoders with "!"."""
    merges = _merges()
    letters = list(byte_letters().values())
    words = [*letters, *(letter + "</w>" for letter in letters), *("".join(pair) for pair in merges), START, END]
    vocabulary = {word: i for i, word in enumerate(words)}
    special = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": pad}
    return CLIPTokenizer(vocabulary, list(merges), model_max_length=length, **special)


@cache
def _merges() -> tuple[tuple[str, str], ...]:
    lines = gzip.decompress(files(__name__).joinpath("merges.txt.gz").read_bytes()).decode().splitlines()
    return tuple((left, right) for left, right in (line.split() for line in lines))


def byte_letters() -> dict[int, str]:
    """A printable stand-in for each of the 256 bytes, in the order of CLIP's first ids (Radford et al., 2019)."""
    shown = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return {byte: chr(byte) for byte in shown} | {byte: chr(256 + i) for i, byte in enumerate(hidden)}
