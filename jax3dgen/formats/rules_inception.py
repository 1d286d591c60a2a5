"""Names of the FID Inception's weights: pytorch-fid's, torchvision's classes without the aux."""

RULES = (
    (r'^.*\.num_batches_tracked$', ''),
)
