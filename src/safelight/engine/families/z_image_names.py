"""How files of Z-Image's transformer alone name the parts that diffusers names otherwise.

Where such a file has one linear module for several of ours, the name ends in # and our module's place in it.
"""

from __future__ import annotations


def original_name(path: str) -> str:
    """The name in such a file of the transformer's module at ``path``."""
    for ours, theirs in NAMES.items():
        path = path.replace(ours, theirs)
    return path


NAMES = {
    "all_x_embedder.2-1": "x_embedder",
    "all_final_layer.2-1": "final_layer",
    "attention.to_q": "attention.qkv#0",
    "attention.to_k": "attention.qkv#1",
    "attention.to_v": "attention.qkv#2",
    "attention.to_out.0": "attention.out",
    "attention.norm_q": "attention.q_norm",
    "attention.norm_k": "attention.k_norm",
}
