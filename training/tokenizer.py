"""CLIP's BPE tokenizer, cut short: its merges are in order of frequency, so the first of them are a smaller tokenizer.

    python -m training.tokenizer --merges bpe_simple_vocab_16e6.txt.gz --out training/data/tokenizer

The file of merges (MIT) comes with the PyPI package `open_clip_torch`.
"""

from __future__ import annotations

import argparse
import gzip
import json
from pathlib import Path

SIZE = 8192
START, END = "<|startoftext|>", "<|endoftext|>"


def byte_letters() -> list[str]:
    """A printable letter for each of the 256 bytes, in the order of GPT-2's tokenizer."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [b for b in range(256) if b not in shown]
    return [chr(b) for b in shown] + [chr(256 + i) for i in range(len(hidden))]


def vocabulary(merges: list[str]) -> list[str]:
    letters = byte_letters()
    return [*letters, *(letter + "</w>" for letter in letters), *(m.replace(" ", "") for m in merges), START, END]


def write(merges: list[str], out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    words = {word: i for i, word in enumerate(vocabulary(merges))}
    (out / "vocab.json").write_text(json.dumps(words, ensure_ascii=False))
    (out / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    special = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END}
    (out / "special_tokens_map.json").write_text(json.dumps(special))
    about = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "add_prefix_space": False}
    (out / "tokenizer_config.json").write_text(
        json.dumps({**about, "do_lower_case": True, "errors": "replace", **special})
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--merges", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    lines = gzip.decompress(options.merges.read_bytes()).decode().split("\n")
    write(lines[1 : SIZE - 2 * 256 - 2 + 1], options.out)


if __name__ == "__main__":
    main()
