"""The flow of the embedded image-to-3D generator, over the latents of `occupancy`.

`generator.py` trains the shipped weights in about 35 CPU minutes; `:tiny` runs every part in
seconds, for tests. The expected metrics are on the card beside the weights, in
jax3dgen/assets/generator: 65 to 85 % of the samples of standing objects stand. The shipped run was
begun with train.steps=3200 and resumed with 4000 at step 1067 and with 4600 at step 1165; jax's
option jax_num_cpu_devices was 1.
"""

from jax3dgen.recipes.nets import generator


def get_config(variant=''):
  config = generator.default_config()
  if variant == 'tiny':
    config.net.width = 12
    config.net.depth = 1
    config.net.heads = 2
    config.data.count = 12
    config.data.statistics = 4
    config.optim.warmup = 2
    config.train.steps = 6
    config.train.batch = 4
    config.sample.steps = 3
    config.test.validation = 4
    config.test.standing = 2
    config.test.samples = 1
    config.log.every = 2
    config.checkpoint.every = 3
  elif variant:
    raise ValueError(f'configs/nets/generator.py has no variant {variant!r}; it has tiny.')
  return config
