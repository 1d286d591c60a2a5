"""Files of LoRA adapters of a network: safetensors with the paths of its kernels."""

import jax
import numpy as np

from jax3dgen.core import tree, weights
from jax3dgen.core.errors import ConfigError
from jax3dgen.nn import lora


def start(params, cfg, seed):
  """Adapters of a network's `params` by the section config.lora, which change nothing yet."""
  adapters = lora.init(jax.random.key(seed), params, cfg.rank, cfg.pattern)
  if not adapters:
    raise ConfigError(f'config.lora.pattern={cfg.pattern!r} matches no kernel of the network.')
  return adapters


def save(path, adapters, scale):
  """Writes adapters as 'PATH/kernel/a' and '.../b'; `scale`, alpha / rank, is in the metadata."""
  weights.save(path, adapters, {'format': 'jax3dgen LoRA', 'scale': str(scale)})


def load(path, like):
  """The adapters of a file of `save`; `like` has the names and shapes that they must have."""
  tensors = weights.Tensors(path)
  weights.match(path, tensors, tree.named(like))
  return {name: {half: np.array(tensors[f'{name}/{half}']) for half in halves}
          for name, halves in like.items()}
