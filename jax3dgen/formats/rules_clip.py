"""Names of CLIP's text encoder: files have a prefix, older ones also the indices of positions."""

RULES = (
    (r'^text_model\.', ''),
    (r'^embeddings\.position_ids$', ''),
)
