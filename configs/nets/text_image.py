"""The text-image model: an image and a text encoder for figurines and captions, a small CLIP.

`text_image.py` trains the shipped weights in about 4 minutes of one core; `:tiny` runs every part
in seconds, for tests. The expected metrics are on the card beside the weights, in
jax3dgen/assets/text_image: at least 99 % for the object, 98 % for the side.
"""

from jax3dgen.recipes.nets import text_image


def get_config(variant=''):
  config = text_image.default_config()
  if variant == 'tiny':
    config.net.widths = (8, 8, 8)
    config.net.embedding = 16
    config.text.width = 16
    config.text.depth = 1
    config.optim.warmup = 2
    config.train.steps = 6
    config.train.batch = 16
    config.test.count = 200
    config.log.every = 2
    config.checkpoint.every = 3
  elif variant:
    raise ValueError(f'configs/nets/text_image.py has no variant {variant!r}; it has tiny.')
  return config
