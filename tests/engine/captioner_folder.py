"""Small captioning networks of the true architectures, as transformers writes their folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from transformers import BertTokenizer, BlipConfig, BlipForConditionalGeneration, GitConfig, GitForCausalLM

from .checkpoints import seeded

SIDE = 32
WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "[DEC]",
    *["a", "red", "blue", "cat", "dog", "bird", "on", "in", "the", "grass", "bench", "sky", "with", "of"],
]
_SMALL: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
_EYE: dict[str, Any] = _SMALL | {"image_size": SIDE, "patch_size": 16}


def write_captioner(folder: Path, kind: str, seed: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    said = _SMALL | {"vocab_size": len(WORDS), "pad_token_id": 0}
    if kind == "blip":
        text = said | {"encoder_hidden_size": 32, "bos_token_id": 5, "eos_token_id": 2, "sep_token_id": 3}
        config = BlipConfig(text_config=text, vision_config=_EYE, projection_dim=16, image_text_hidden_size=16)
        seeded(BlipForConditionalGeneration, seed, config).save_pretrained(folder)
    else:
        seeded(
            GitForCausalLM, seed, GitConfig(vision_config=_EYE, bos_token_id=2, eos_token_id=3, **said)
        ).save_pretrained(folder)
    size = {"height": SIDE, "width": SIDE} if kind == "blip" else {"shortest_edge": SIDE}
    eye = {"size": size, "crop_size": {"height": SIDE, "width": SIDE}, "resample": 3}
    (folder / "preprocessor_config.json").write_text(
        json.dumps(eye | {"image_mean": [0.5] * 3, "image_std": [0.25] * 3})
    )
    return folder
