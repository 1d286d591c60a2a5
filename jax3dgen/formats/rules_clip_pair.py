"""Names of a whole CLIP: its image encoder, its text encoder, and a temperature."""

RULES = (
    (r'^.*\.position_ids$', ''),  # indices, in older files
    (r'^text_model\.', 'text.'),
    (r'^text_projection\.', 'text.text_projection.'),
    (r'^vision_model\.', 'vision.'),
    (r'^visual_projection\.', 'vision.visual_projection.'),
)
