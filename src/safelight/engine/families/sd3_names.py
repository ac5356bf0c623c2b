"""How the original code names the parts of Stable Diffusion 3's transformer that diffusers names otherwise.

Where the original has one linear module for several of ours, the name ends in # and our module's place in it; #swapped is
one whose two halves, shift and scale, are the other way round there.
"""

from __future__ import annotations


def original_name(path: str) -> str:
    """The original name of the transformer's module at ``path``."""
    kind, _, rest = path.partition(".")
    number, _, inner = rest.partition(".")
    if kind == "transformer_blocks" and inner in BLOCK:
        return f"joint_blocks.{number}.{BLOCK[inner]}"
    return OUTSIDE.get(path, path)


BLOCK = {
    "norm1.linear": "x_block.adaLN_modulation.1",
    "norm1_context.linear": "context_block.adaLN_modulation.1#swapped",  # in the last block, which has but these two
    "attn.to_q": "x_block.attn.qkv#0",
    "attn.to_k": "x_block.attn.qkv#1",
    "attn.to_v": "x_block.attn.qkv#2",
    "attn.norm_q": "x_block.attn.ln_q",
    "attn.norm_k": "x_block.attn.ln_k",
    "attn.to_out.0": "x_block.attn.proj",
    "attn.add_q_proj": "context_block.attn.qkv#0",
    "attn.add_k_proj": "context_block.attn.qkv#1",
    "attn.add_v_proj": "context_block.attn.qkv#2",
    "attn.norm_added_q": "context_block.attn.ln_q",
    "attn.norm_added_k": "context_block.attn.ln_k",
    "attn.to_add_out": "context_block.attn.proj",
    "attn2.to_q": "x_block.attn2.qkv#0",
    "attn2.to_k": "x_block.attn2.qkv#1",
    "attn2.to_v": "x_block.attn2.qkv#2",
    "attn2.norm_q": "x_block.attn2.ln_q",
    "attn2.norm_k": "x_block.attn2.ln_k",
    "attn2.to_out.0": "x_block.attn2.proj",
    "ff.net.0.proj": "x_block.mlp.fc1",
    "ff.net.2": "x_block.mlp.fc2",
    "ff_context.net.0.proj": "context_block.mlp.fc1",
    "ff_context.net.2": "context_block.mlp.fc2",
}
OUTSIDE = {
    "pos_embed": "",
    "pos_embed.proj": "x_embedder.proj",
    "time_text_embed.timestep_embedder.linear_1": "t_embedder.mlp.0",
    "time_text_embed.timestep_embedder.linear_2": "t_embedder.mlp.2",
    "time_text_embed.text_embedder.linear_1": "y_embedder.mlp.0",
    "time_text_embed.text_embedder.linear_2": "y_embedder.mlp.2",
    "norm_out.linear": "final_layer.adaLN_modulation.1#swapped",
    "proj_out": "final_layer.linear",
}
