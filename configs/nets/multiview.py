"""Five views of a figurine from one picture: the embedded prior with reference attention.

`multiview.py` trains the shipped weights in about 20 CPU minutes; `:tiny` runs every part quickly,
for tests. The expected metrics are on the card beside the weights, in jax3dgen/assets/multiview: a
PSNR of 22.7 to 23.3 dB, and 69 to 75 % of the hands that the reference shows in its colour, where
chance is 25 %. The shipped run was begun with train.steps=3000 and resumed with 3800 at step 759,
with 3400 at step 1425 and with 2300 at step 1674.
"""

from jax3dgen.recipes.nets import multiview


def get_config(variant=''):
  config = multiview.default_config()
  if variant == 'tiny':
    config.data.count = 8
    config.optim.warmup = 2
    config.train.steps = 4
    config.train.batch = 4
    config.sample.steps = 2
    config.sample.every = 4
    config.test.objects = 2
    config.log.every = 2
    config.checkpoint.every = 3
  elif variant:
    raise ValueError(f'configs/nets/multiview.py has no variant {variant!r}; it has tiny.')
  return config
