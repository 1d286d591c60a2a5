"""Names of LPIPS weights: torchvision's AlexNet or VGG16 merged with LPIPS' own linear heads, or
the state of the package lpips, which has both."""

RULES = (
    (r'^(scaling_layer|classifier)\..*$', ''),  # constants, and layers that LPIPS does not use
    (r'^lins\..*$', ''),  # a copy of the heads
    (r'^net\.slice\d\.', 'features.'),  # the numbers in slices are those of features
    (r'^(lin\d)\.model\.1\.', r'\1.'),
)
