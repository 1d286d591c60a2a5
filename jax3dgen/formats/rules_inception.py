"""Names of the FID Inception's weights: pytorch-fid's, torchvision's without the auxiliary head."""

RULES = (
    (r'^.*\.num_batches_tracked$', ''),
)
