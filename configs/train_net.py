"""Any small net with the defaults of its module: `--config.name=NAME` chooses it.

The nets that the package ships have configs of their own in configs/nets, each with a `:tiny`
variant.
"""

from ml_collections import ConfigDict


def get_config(variant=''):
  if variant:
    raise ValueError(f'configs/train_net.py has no variant {variant!r}.')
  c = ConfigDict()
  c.name = ''  # the net to train: a module of jax3dgen/recipes/nets, or one on the path
  return c
