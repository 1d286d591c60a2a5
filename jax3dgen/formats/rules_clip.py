"""Names of CLIP's text encoder: files keep it in a module of its own, older ones with a counter."""

RULES = (
    (r'^text_model\.', ''),
    (r'^embeddings\.position_ids$', ''),
)
