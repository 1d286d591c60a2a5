"""T3Bench's protocol on prompts, meshes and scorers of your own.

Prompt lists are not shipped; T3Bench's are three files of 100 prompts. Published scores need
ImageReward, a captioner and a language model, each named as 'module:function'; the built-in scorer
is limited to the figurines of the embedded prior, unless `config.quality.text_image` is the folder
of a CLIP. `:tiny` takes seconds, for tests.
"""

from jax3dgen.recipes.evaluate import t3bench_config


def get_config(variant=''):
  config = t3bench_config.default_config()
  if variant == 'tiny':
    config.size, config.subdivisions = 16, 0
  elif variant:
    raise ValueError(f'configs/t3bench.py has no variant {variant!r}; it has tiny.')
  return config
