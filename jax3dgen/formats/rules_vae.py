"""Older names of the attention of the KL autoencoder."""

RULES = (
    (r'(mid_block\.attentions\.0)\.query\.', r'\1.to_q.'),
    (r'(mid_block\.attentions\.0)\.key\.', r'\1.to_k.'),
    (r'(mid_block\.attentions\.0)\.value\.', r'\1.to_v.'),
    (r'(mid_block\.attentions\.0)\.proj_attn\.', r'\1.to_out.0.'),
)
