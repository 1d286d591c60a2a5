"""Published weights -> parameters of our networks: names by ordered rules, layouts by target.

A module of ours is named like the published one, a numeric component joined to its predecessor:
'down_blocks.0.resnets.1.conv1.weight' is 'down_blocks_0/resnets_1/conv1/kernel'. What does not
follow from that alone stands in a table RULES = ((regular expression, replacement), ...) of a file
`rules_*`, applied one after the other to the published name. A rule may write 'kernel', 'scale' or
'embedding' itself, and one that leaves nothing of a name says that no parameter of ours holds the
tensor. There is no lenient mode: every tensor has one place and every place one tensor.
"""

import re

import jax
import numpy as np

from jax3dgen.core import tree as trees
from jax3dgen.core import weights
from jax3dgen.core.errors import WeightError

NORM = re.compile(r'norm|^(ln|bn)(_|\d|$)')  # a module's own name, not those of its parents
TABLE = re.compile(r'(?<!patch_)embeddings?$')


def names(rules, published):
  """{published name: parameter path}, without the names of which the rules leave nothing."""
  compiled = [(re.compile(pattern), to) for pattern, to in rules]
  paths = {}
  for name in published:
    renamed = name
    for pattern, to in compiled:
      renamed = pattern.sub(to, renamed)
    if renamed:
      paths[name] = _path(renamed)
  return paths


def _path(name):
  parts = []
  for part in name.split('.'):
    if part.isdigit() and parts:
      parts[-1] += f'_{part}'
    else:
      parts.append(part)
  if parts[-1] == 'weight':
    module = parts[-2] if len(parts) > 1 else ''
    parts[-1] = ('scale' if NORM.search(module) else
                 'embedding' if TABLE.search(module) else 'kernel')
  return '/'.join(parts)


def arrange(array, path, rank):
  """A published array as a view in the layout of the parameter `path`, which has `rank` axes.

  Kernels go from [out, in, ...] to [..., in, out]; one over a single pixel is a linear layer where
  the rank says so, and the other way round. Everything else stays as it is.
  """
  if path.rpartition('/')[2] != 'kernel' or array.ndim < 2:
    return array
  pixels = array.shape[2:]
  if set(pixels) <= {1}:
    array = array.reshape(array.shape[:2] + (1,) * (rank - 2))
  return array.transpose(*range(2, array.ndim), 1, 0)


def to_tree(tensors, rules, target, dtype=None, where='this file'):
  """The parameters of `target` (a tree of ShapeDtypeStructs) from {published name: array}.

  Floating ones have the target's dtype, or `dtype`. WeightError, with `where` in front, and one
  table of all that is missing, unused, misshaped or mistyped; or the names of tensors that are not
  finite, or not in that dtype.
  """
  wanted = trees.named(target)
  published = {}
  for name, path in names(rules, tensors).items():
    if path in published:
      raise WeightError(f'{where}: {published[path]!r} and {name!r} are both the parameter {path}.')
    published[path] = name
  found = {}
  for path, name in published.items():
    if path in wanted:
      found[path] = arrange(tensors[name], path, len(wanted[path].shape))
    else:  # to be said in the file's own words
      found[name] = tensors[name]
  weights.match(where, found, wanted)
  leaves = {}
  # The largest first, one at a time: what a cast needs beside its result is then small where much
  # has been read, and the host never holds much more than the parameters.
  for path in sorted(found, key=lambda path: -found[path].size):
    kept = dtype if dtype and weights.is_float(wanted[path]) else wanted[path].dtype
    leaves[path] = _cast(found.pop(path), kept, published[path], where)
  return jax.tree.unflatten(jax.tree.structure(target), [leaves[path] for path in wanted])


def _cast(array, dtype, name, where):
  with np.errstate(over='ignore'):  # what overflows is refused by name
    array = array.astype(dtype, order='C')
  if weights.is_float(array) and not np.isfinite(array).all():
    raise WeightError(f'{where}: {name!r} is not finite as {np.dtype(dtype).name}.')
  return jax.device_put(array).block_until_ready()  # else the casts of many tensors live at once


def load(path, rules, target, dtype=None):
  """`to_tree` of a safetensors file, of an index of several, or of a folder (`weights.find`)."""
  return to_tree(weights.open_all(path), rules, target, dtype, path)
