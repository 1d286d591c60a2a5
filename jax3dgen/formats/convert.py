"""Published weights -> parameters of our networks: names by ordered rules, layouts by target.

A module here is named like the published one, a numeric component joined to its predecessor:
'down_blocks.0.resnets.1.conv1.weight' is 'down_blocks_0/resnets_1/conv1/kernel'. Exceptions are in
a table RULES = ((regular expression, replacement), ...) of a file `rules_*`, applied one after the
other to the published name. A rule may write 'kernel', 'scale' or 'embedding' itself; one that
leaves an empty name drops the tensor. There is no lenient mode: tensors and parameters correspond
one to one.
"""

import re

import jax
import numpy as np

from jax3dgen.core import tree as trees
from jax3dgen.core import types, weights
from jax3dgen.core.errors import WeightError

NORM = re.compile(r'norm|^(ln|bn)(_|\d|$)')  # matched against a module's name without its parents
TABLE = re.compile(r'(?<!patch_)embeddings?$')


def names(rules, published):
  """{published name: parameter path}, without the names that the rules make empty."""
  patterns = [(re.compile(pattern), to) for pattern, to in rules]
  paths = {}
  for name in published:
    target = name
    for pattern, to in patterns:
      target = pattern.sub(to, target)
    if target:
      paths[name] = _path(target)
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

  Kernels go from [out, in, ...] to [..., in, out]; a 1x1 convolution becomes a linear layer where
  the rank asks for one, and vice versa. Other arrays stay unchanged.
  """
  if path.rpartition('/')[2] != 'kernel' or array.ndim < 2:
    return array
  pixels = array.shape[2:]
  if set(pixels) <= {1}:
    array = array.reshape(array.shape[:2] + (1,) * (rank - 2))
  return array.transpose(*range(2, array.ndim), 1, 0)


def to_tree(tensors, rules, target, dtype=None, where='this file'):
  """The parameters of `target` (a tree of ShapeDtypeStructs) from {published name: array}.

  Floating ones have the target's dtype, or `dtype` (see `types.float_dtype`). WeightError, which
  begins with `where`: with one table of all tensors that are missing, unused, misshaped or
  mistyped, or with the names of those that are not finite, in the file or in that dtype.
  """
  expected = trees.named(target)
  dtype = None if dtype is None else types.float_dtype(dtype)
  published = {}
  for name, path in names(rules, tensors).items():
    if path in published:
      raise WeightError(f'{where}: {published[path]!r} and {name!r} are both the parameter {path}.')
    published[path] = name
  arrays = {}
  for path, name in published.items():
    if path in expected:
      arrays[path] = arrange(tensors[name], path, len(expected[path].shape))
    else:  # an unused tensor keeps its published name in the table
      arrays[name] = tensors[name]
  weights.match(where, arrays, expected)
  leaves = {}
  # The largest first, one at a time: the temporary of a cast is then small once much has been read,
  # and the host never holds much more than the parameters.
  for path in sorted(arrays, key=lambda path: -arrays[path].size):
    leaf_dtype = dtype if dtype and weights.is_float(expected[path]) else expected[path].dtype
    leaves[path] = _cast(arrays.pop(path), leaf_dtype, published[path], where)
  return jax.tree.unflatten(jax.tree.structure(target), [leaves[path] for path in expected])


def _cast(array, dtype, name, where):
  with np.errstate(over='ignore'):  # overflow is refused by name
    array = array.astype(dtype, order='C')
  if weights.is_float(array) and not np.isfinite(array).all():
    raise WeightError(f'{where}: {name!r} is not finite as {np.dtype(dtype).name}.')
  return jax.device_put(array).block_until_ready()  # otherwise the casts of many tensors coexist


def load_tree(path, rules, target, dtype=None):
  """`to_tree` of a safetensors file, of an index of several, or of a folder (`weights.find`)."""
  return to_tree(weights.open_all(path), rules, target, dtype, path)
