"""Names of the weights of TRELLIS's first stage: flow transformer, encoder and decoder.

The table of positions, `pos_emb`, is no parameter here: `formats/trellis` compares it.
"""

RULES = (
    (r'^out_layer\.0\.', 'norm_out.'),
    (r'^out_layer\.2\.', 'conv_out.'),
)
