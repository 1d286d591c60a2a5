"""Accuracy of the pose classifier on figurines, against ground truth.

RecDreamer's Table 6 reports, with pretrained features on its own prompts, accuracies of .785 for
the whole classifier, .633 for orientation and .770 for texture alone. The results are in
docs/results/pose_classifier.md. `:tiny` runs every part in seconds, for tests.
"""

from jax3dgen.recipes.evaluate import pose_classifier


def get_config(variant=''):
  config = pose_classifier.default_config()
  if variant == 'tiny':
    config.prompt = 'a red bear'
    config.test.count = 240
  elif variant:
    raise ValueError(f'configs/pose_classifier.py has no variant {variant!r}; it has tiny.')
  return config
