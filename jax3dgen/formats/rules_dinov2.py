"""Names of DINOv2's weights: the authors' and those of transformers.

transformers keeps query, key and value apart; `formats/dinov2` joins them to one `qkv` first.
"""

RULES = (
    (r'^(embeddings\.)?mask_token$', ''),  # used in training only
    (r'^embeddings\.(cls_token|register_tokens)$', r'\1'),
    (r'^embeddings\.position_embeddings$', 'pos_embed'),
    (r'^(embeddings\.patch_embeddings\.projection|patch_embed\.proj)\.', 'patch_embed.'),
    (r'^(encoder\.layer|blocks)\.', 'block.'),
    (r'\.(attention\.attention\.qkv|attn\.qkv)\.', '.qkv.'),
    (r'\.(attention\.output\.dense|attn\.proj)\.', '.proj.'),
    (r'\.layer_scale(\d)\.lambda1$', r'.ls\1'),
    (r'\.ls(\d)\.gamma$', r'.ls\1'),
    (r'\.mlp\.weights_in\.', '.mlp.w12.'),
    (r'\.mlp\.weights_out\.', '.mlp.w3.'),
    (r'\.mlp\.', '.'),
    (r'^layernorm\.', 'norm.'),
)
