"""Pytrees by name: the path of a leaf is its keys joined by '/', as in 'field/table' or 'opt/0/mu'.

Functions here take and return plain pytrees, whatever their leaves mean.
"""

import hashlib
import re

from flax import traverse_util
import jax
import jax.numpy as jnp
import numpy as np


def name(path):
  """The name of a key path of `jax.tree_util`."""
  return jax.tree_util.keystr(path, simple=True, separator='/')


def named(tree):
  """{name: leaf} in the order of `jax.tree.leaves`. Names must be unique within the tree."""
  pairs = [(name(path), leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)]
  flat = dict(pairs)
  if len(flat) != len(pairs):
    names = [n for n, _ in pairs]
    raise ValueError(f'two leaves share a name: {sorted({n for n in names if names.count(n) > 1})}')
  return flat


def flatten(value, prefix=''):
  """{'train.steps': 200} of {'train': {'steps': 200}}, a config as nested dicts.

  An empty dict is a value; a value that is no dict has the name `prefix`.
  """
  if not isinstance(value, dict) or not value:
    return {prefix: value}
  flat = {}
  for key, part in value.items():
    flat |= flatten(part, f'{prefix}.{key}' if prefix else str(key))
  return flat


def mask(tree, pattern):
  """The same tree with True where the regular expression is found in the leaf's name."""
  search = re.compile(pattern).search
  return jax.tree_util.tree_map_with_path(lambda path, _: search(name(path)) is not None, tree)


def partition(tree, pattern):
  """(the leaves in whose names the regular expression is found, all others), nested dicts both."""
  search, parts = re.compile(pattern).search, ({}, {})
  for n, leaf in named(tree).items():
    parts[search(n) is None][n] = leaf
  return tuple(traverse_util.unflatten_dict(part, sep='/') for part in parts)


def join(*parts):
  """One nested dict of the leaves of several; a later leaf replaces an earlier of its name."""
  flat = {n: leaf for part in parts for n, leaf in named(part).items()}
  return traverse_util.unflatten_dict(flat, sep='/')


def ema(average, new, decay):
  """Exponential moving average, leaf by leaf: decay * average + (1 - decay) * new."""
  return jax.tree.map(lambda a, n: decay * a + (1.0 - decay) * n, average, new)


def count(tree):
  """The number of entries of all leaves."""
  return sum(int(np.prod(jnp.shape(leaf), dtype=np.int64)) for leaf in jax.tree.leaves(tree))


def digest(tree):
  """sha256 (hex) over all leaves in sorted order of their names, as little-endian float32."""
  total = hashlib.sha256()
  for _, leaf in sorted(named(tree).items()):
    total.update(np.ascontiguousarray(np.asarray(leaf), '<f4').tobytes())
  return total.hexdigest()


def nonfinite(tree):
  """Names of the floating leaves that hold a NaN or an infinity (on the host)."""
  bad = []
  for n, leaf in named(tree).items():
    if jnp.issubdtype(leaf.dtype, jnp.inexact) and not np.isfinite(np.asarray(leaf)).all():
      bad.append(n)
  return bad
