"""Names of LoFTR's weights: the authors' checkpoints, and kornia's, which lack the prefix."""

RULES = (
    (r'^matcher\.', ''),
    (r'^fine_preprocess\.', ''),
    (r'^.*\.num_batches_tracked$', ''),
    (r'(downsample|outconv2)\.1\.weight$', r'\1.1.scale'),  # batch norms without a name
)
