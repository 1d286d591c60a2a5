"""Metrics of finished objects: FID, uFID, entropies, text distance, faces, diversity, cost.

The numbers of views and of reference pictures are RecDreamer's and DiverseDream's. The networks
are the embedded ones; published values need `config.judge.features` and `classes` (the folder of
the FID Inception) and `config.judge.text_image` (of a CLIP). `:cells` is for the strips of eight
views that experiments.compare writes to cells/ of its workdir. `:tiny` uses fewer views and
samples, for tests.
"""

from jax3dgen.recipes.evaluate import config as evaluate_config


def get_config(variant=''):
  config = evaluate_config.default_config()
  if variant == 'cells':
    config.views.update({'fid': 4, 'entropy': 8, 'diversity': 8, 'janus': 8})
  elif variant == 'tiny':
    config.views.update({'fid': 2, 'entropy': 4, 'diversity': 4, 'janus': 8})
    config.reference.update({'count': 6, 'steps': 2})
    config.judge.batch = 8
  elif variant:
    raise ValueError(f'configs/evaluate.py has no variant {variant!r}; it has cells and tiny.')
  return config
