"""A small random CLIPSeg in the layout of transformers' folders."""

from __future__ import annotations

import json
from pathlib import Path

from transformers import CLIPSegConfig, CLIPSegForImageSegmentation

from .checkpoints import seeded, write_tokenizer

SIDE = 64


def write_finder(folder: Path, seed: int = 0) -> Path:
    tokenizer = write_tokenizer(folder)
    text = {"vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2}
    text |= {"num_attention_heads": 2, "bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    vision = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2}
    config = CLIPSegConfig(
        text_config=text | {"pad_token_id": tokenizer.pad_token_id},
        vision_config=vision | {"image_size": SIDE, "patch_size": 16},
        projection_dim=16,
        extract_layers=[1, 2, 3],
        reduce_dim=16,
        decoder_num_attention_heads=2,
        decoder_intermediate_size=32,
    )
    seeded(CLIPSegForImageSegmentation, seed, config).save_pretrained(folder)
    eye = {"image_processor_type": "ViTImageProcessor", "size": {"height": SIDE, "width": SIDE}, "resample": 2}
    mean, spread = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    (folder / "preprocessor_config.json").write_text(json.dumps(eye | {"image_mean": mean, "image_std": spread}))
    return folder
