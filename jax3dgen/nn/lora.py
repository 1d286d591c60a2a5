"""Low-rank adapters (LoRA, Hu et al. 2021) as changes of a parameter tree; no module changes.

A kernel [..., in, out] of the tree gets `a` [rank, ... in] and `b` [out, rank], and becomes
kernel + scale (b a)^T. With rank 0 it gets `whole`, a change of its own shape. Adapters are a flat
dict by the '/'-joined path of the kernel.
"""

import re

import jax
import jax.numpy as jnp

from jax3dgen.core import tree


def init(key, params, rank, pattern=''):
  """Adapters of the kernels whose path contains a match of the regular expression `pattern`.

  `a` is Kaiming-uniform with slope sqrt(5) in PyTorch's terms and `b` is 0, so that the adapters
  change nothing at first.
  """
  adapters = {}
  for path, leaf in jax.tree_util.tree_leaves_with_path(params):
    name = tree.name(path)
    if not name.endswith('kernel') or not re.search(pattern, name):
      continue
    if rank == 0:
      adapters[name] = {'whole': jnp.zeros(leaf.shape)}
      continue
    fan_in = leaf.size // leaf.shape[-1]
    bound = fan_in**-0.5
    a = jax.random.uniform(jax.random.fold_in(key, len(adapters)), (rank, fan_in), jnp.float32,
                           -bound, bound)
    adapters[name] = {'a': a, 'b': jnp.zeros((leaf.shape[-1], rank))}
  return adapters


def merge(params, adapters, scale=1.0):
  """The tree with its adapters added; kernels keep their dtype."""
  def add(path, leaf):
    adapter = adapters.get(tree.name(path))
    if adapter is None:
      return leaf
    if 'whole' in adapter:
      return leaf + scale * adapter['whole'].astype(leaf.dtype)
    change = scale * jnp.einsum('ri,or->io', adapter['a'], adapter['b'])
    return leaf + change.reshape(leaf.shape).astype(leaf.dtype)
  return jax.tree_util.tree_map_with_path(add, params)
