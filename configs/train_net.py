"""Any small net with the default config of its module, selected by `--config.name=NAME`.

The shipped nets have their own configs in configs/nets, each with a variant `:tiny`.
"""

from ml_collections import ConfigDict


def get_config(variant=''):
  if variant:
    raise ValueError(f'configs/train_net.py has no variant {variant!r}.')
  c = ConfigDict()
  c.name = ''  # the net to train: a module of jax3dgen/recipes/nets, or one on the path
  return c
