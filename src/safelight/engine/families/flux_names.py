"""How the original code names the parts of FLUX.1 that diffusers names otherwise; LoRA files trained with it use these names.

Where the original has one linear module for several of ours, the name ends in # and our module's place in it; #swapped is
one whose two halves, shift and scale, are the other way round there.
"""

from __future__ import annotations


def original_name(path: str) -> str:
    """The original name of the transformer's module at ``path``."""
    kind, _, rest = path.partition(".")
    number, _, inner = rest.partition(".")
    if kind == "transformer_blocks" and inner in DOUBLE:
        return f"double_blocks.{number}.{DOUBLE[inner]}"
    if kind == "single_transformer_blocks" and inner in SINGLE:
        return f"single_blocks.{number}.{SINGLE[inner]}"
    return OUTSIDE.get(path, path)


DOUBLE = {
    "attn.to_q": "img_attn.qkv#0",
    "attn.to_k": "img_attn.qkv#1",
    "attn.to_v": "img_attn.qkv#2",
    "attn.norm_q": "img_attn.norm.query_norm",
    "attn.norm_k": "img_attn.norm.key_norm",
    "attn.add_q_proj": "txt_attn.qkv#0",
    "attn.add_k_proj": "txt_attn.qkv#1",
    "attn.add_v_proj": "txt_attn.qkv#2",
    "attn.norm_added_q": "txt_attn.norm.query_norm",
    "attn.norm_added_k": "txt_attn.norm.key_norm",
    "attn.to_out.0": "img_attn.proj",
    "attn.to_add_out": "txt_attn.proj",
    "ff.net.0.proj": "img_mlp.0",
    "ff.net.2": "img_mlp.2",
    "ff_context.net.0.proj": "txt_mlp.0",
    "ff_context.net.2": "txt_mlp.2",
    "norm1.linear": "img_mod.lin",
    "norm1_context.linear": "txt_mod.lin",
}
SINGLE = {
    "attn.to_q": "linear1#0",
    "attn.to_k": "linear1#1",
    "attn.to_v": "linear1#2",
    "attn.norm_q": "norm.query_norm",
    "attn.norm_k": "norm.key_norm",
    "proj_mlp": "linear1#3",
    "proj_out": "linear2",
    "norm.linear": "modulation.lin",
}
OUTSIDE = {
    "x_embedder": "img_in",
    "context_embedder": "txt_in",
    "time_text_embed.timestep_embedder.linear_1": "time_in.in_layer",
    "time_text_embed.timestep_embedder.linear_2": "time_in.out_layer",
    "time_text_embed.text_embedder.linear_1": "vector_in.in_layer",
    "time_text_embed.text_embedder.linear_2": "vector_in.out_layer",
    "time_text_embed.guidance_embedder.linear_1": "guidance_in.in_layer",
    "time_text_embed.guidance_embedder.linear_2": "guidance_in.out_layer",
    "norm_out.linear": "final_layer.adaLN_modulation.1#swapped",
    "proj_out": "final_layer.linear",
}
