"""Weight files: safetensors <-> nested dicts of arrays, with full validation.

In this project's files a tensor's name is its path in the tree, joined by '/'; `formats/convert`
reads published files. Only safetensors are read; a pickle is refused before a byte of it is
interpreted. Every fault of a file raises a WeightError.
"""

from collections.abc import Mapping
import hashlib
import pathlib
import shlex

from flax import traverse_util
import jax
import jax.numpy as jnp
import numpy as np
from safetensors import numpy as safetensors_numpy

from jax3dgen.core import files, header, hub, types
from jax3dgen.core import tree as trees
from jax3dgen.core.errors import WeightError

PICKLE_SUFFIXES = ('.bin', '.ckpt', '.pickle', '.pkl', '.pt', '.pth')
ZIP_MAGIC = b'PK\x03\x04'  # what torch.save writes today is a zip archive of pickles
PICKLE_MAGIC = b'\x80'  # pickle protocol 2 and later
CONVERT = 'python -m experiments.convert_weights'  # the command that turns pickles to safetensors
# Published names of the weights of a folder, in the order of preference: the plain name before the
# half-precision variant, one file before several.
PUBLISHED = [f'{name}.{end}' for ends in (('safetensors', 'safetensors.index.json'),
                                          ('fp16.safetensors', 'safetensors.index.fp16.json'))
             for end in ends for name in ('diffusion_pytorch_model', 'model')]


def digest(path):
  """The sha256 of a file, as hexadecimal digits."""
  with open(path, 'rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()


def seal(folder, names):
  """Writes `folder`/sha256, as sha256sum does: the digests of the files `names`."""
  text = ''.join(f'{digest(folder / name)}  {name}\n' for name in names)
  with files.replacing(folder / 'sha256') as beside:
    beside.write_text(text)


def check_seal(folder, names):
  """WeightError unless `folder`/sha256 lists all files `names` and their digests agree with it."""
  try:
    lines = [line.split() for line in (folder / 'sha256').read_text().splitlines() if line]
    digests = {name: hexadecimal for hexadecimal, name in lines}
  except (OSError, ValueError) as error:
    why = error.strerror if isinstance(error, OSError) else 'its lines are not those of sha256sum'
    raise WeightError(f'{folder / "sha256"} is missing or damaged ({why}); weights need it.'
                      ) from error
  for name in names:
    path = folder / name
    if not path.is_file():
      raise WeightError(f'{path} is missing; these weights are a folder of {", ".join(names)} and '
                        'sha256.')
    if digests.get(name) != digest(path):
      hub.refuse_substitute(path)
      raise WeightError(f'{path} is damaged or was replaced: its sha256 is not that of '
                        f'{folder / "sha256"}; fetch it again.')


def is_whole(folder):
  """Whether the digests of all files in `folder`/sha256 agree with it."""
  try:
    lines = (folder / 'sha256').read_text().splitlines()
    check_seal(folder, [line.split()[1] for line in lines])
  except (OSError, IndexError, WeightError):
    return False
  return bool(lines)


def save(path, tree, metadata=None, dtype=None):
  """Writes a nested dict of arrays; floating ones as `dtype` (see `types.float_dtype`) when given.

  `metadata` is a dict of strings. The write is atomic. WeightError for values that are not finite.
  """
  path = pathlib.Path(path)
  flat = {name: np.asarray(leaf) for name, leaf in trees.named(tree).items()}
  if dtype is not None:
    dtype = types.float_dtype(dtype)
    with np.errstate(over='ignore'):  # overflow is refused by name below
      flat = {name: leaf.astype(dtype) if is_float(leaf) else leaf for name, leaf in flat.items()}
  refuse_nonfinite(path, flat)
  with files.replacing(path) as beside:
    beside.write_bytes(safetensors_numpy.save(
        {n: np.require(a, requirements='C') for n, a in flat.items()}, metadata))


def load_tree(path, target=None):
  """The nested dict of a safetensors file, floating tensors as float32.

  `target`, when given, is a tree of arrays or ShapeDtypeStructs whose names and shapes the file
  must have exactly.
  """
  path = pathlib.Path(path)
  tensors = Tensors(path)
  if target is not None:
    match(path, tensors, trees.named(target))
  flat = {}
  for name, leaf in tensors.items():
    refuse_nonfinite(path, {name: leaf})
    # Converted by NumPy: JAX would compile a program for each shape.
    flat[name] = jax.device_put(np.array(leaf, np.float32 if is_float(leaf) else leaf.dtype))
  try:
    return traverse_util.unflatten_dict(flat, sep='/')
  except (TypeError, AttributeError) as error:
    raise WeightError(f'{path}: one tensor is named like the folder of another.') from error


class Tensors(Mapping):
  """{name: array} of one or several safetensors files, memory-mapped, in the order of their bytes.

  Each look-up maps the tensor's bytes without reading them; they are unmapped with the array, so
  that reading a file takes no more host memory than the tensors that stay referenced.
  """

  def __init__(self, *paths):
    self._entries = {}
    for path in paths:
      refuse_foreign(path)
      for name, entry in header.read(path).items():
        if name in self._entries:
          raise WeightError(f'{path} and {self._entries[name][0]} both hold the tensor {name!r}.')
        self._entries[name] = path, entry

  def __getitem__(self, name):
    path, entry = self._entries[name]
    if entry.nbytes == 0:
      return np.zeros(entry.shape, entry.dtype)
    data = np.memmap(path, np.uint8, 'r', entry.offset, (entry.nbytes,))
    return np.asarray(data).view(entry.dtype).reshape(entry.shape)

  def __iter__(self):
    return iter(self._entries)

  def __len__(self):
    return len(self._entries)


def find(path):
  """(index or None, weight files) of a safetensors file, of an index of several, or of a folder
  with one of PUBLISHED, or with one safetensors file of any name; `hub.resolve` applies.

  Where the folder has a file sha256, the digests are checked.
  """
  path = hub.resolve(path)
  if path.is_dir():
    inside = sorted(file.name for file in path.iterdir())
    names = [name for name in PUBLISHED if name in inside]
    names = names or [name for name in inside if name.endswith('.safetensors')]
    pickles = [name for name in inside if pathlib.Path(name).suffix.lower() in PICKLE_SUFFIXES]
    if not names and pickles:
      refuse_foreign(path / pickles[0])
    if not names:
      raise WeightError(f'{path} holds no weights: no safetensors file lies in it.')
    if len(names) > 1 and names[0] not in PUBLISHED:
      raise WeightError(f'{path} holds several weights ({", ".join(names)}); name one of them.')
    path = path / names[0]
  index = path if path.suffix == '.json' else None
  paths = _shards(path) if index else [path]
  if (path.parent / 'sha256').exists():
    check_seal(path.parent, [file.name for file in paths] + ([path.name] if index else []))
  return index, paths


def open_all(path):
  """`Tensors` of the files of `find`; where there is an index, exactly those that it lists."""
  index, paths = find(path)
  tensors = Tensors(*paths)
  if index:
    expected = {name: index.parent / file for name, file in _weight_map(index).items()}
    for name in sorted(expected.keys() | tensors.keys()):
      if name not in tensors or tensors._entries[name][0] != expected.get(name):
        where = tensors._entries[name][0].name if name in tensors else 'none of its files'
        listed = expected[name].name if name in expected else 'nowhere'
        raise WeightError(f'{index} names {name!r} in {listed}, but it is in {where}.')
  return tensors


def _weight_map(index):
  shards = hub.read_json(index).get('weight_map')
  if shards is None:
    raise WeightError(f'{index} is no index of weight files: it has no weight_map.')
  if not (isinstance(shards, dict) and shards and all(isinstance(x, str) for x in shards.values())):
    raise WeightError(f'{index} is no index of weight files: its weight_map names none.')
  return shards


def _shards(index):
  names = sorted(set(_weight_map(index).values()))
  for name in names:
    if name != pathlib.PureWindowsPath(name).name or name in ('', '.', '..') or '\0' in name:
      raise WeightError(f'{index} names {name!r}, which is not a file beside it; nothing is read '
                        'outside a folder of weights.')
  missing = [name for name in names if not (index.parent / name).is_file()]
  if missing:
    raise WeightError(f'{index} names {", ".join(missing)}, which is missing beside it; fetch the '
                      'whole folder.')
  return [index.parent / name for name in names]


def refuse_foreign(path):
  """WeightError where `path` cannot be read, stands for a file that was not downloaded, or is a
  pickle by its name or its first bytes."""
  sentence = (f'{path} is a pickle by its {{}}; pickles can run code and are never read. Use a '
              f'.safetensors file, or make one of it: {CONVERT} {shlex.quote(str(path))}')
  named = path.suffix.lower() in PICKLE_SUFFIXES
  head = hub.refuse_substitute(path) if path.is_file() or not named else b''
  if named:
    raise WeightError(sentence.format('name'))
  if head.startswith(ZIP_MAGIC) or (head.startswith(PICKLE_MAGIC) and head[8:9] != b'{'):
    raise WeightError(sentence.format('first bytes'))


def match(path, actual, expected):
  """WeightError with one table of the tensors of `actual` that are missing, unused, misshaped or of
  another kind of number than in `expected`, both {name: value with a shape and a dtype}."""
  shape = lambda leaf: 'x'.join(map(str, leaf.shape)) or 'scalar'
  ours, theirs = set(expected), set(actual)
  rows = [(name, 'missing', '-', shape(expected[name])) for name in sorted(ours - theirs)]
  rows += [(name, 'unused', shape(actual[name]), '-') for name in sorted(theirs - ours)]
  for name in sorted(ours & theirs):
    target, tensor = expected[name], actual[name]
    if tensor.shape != target.shape:
      rows.append((name, 'misshaped', shape(tensor), shape(target)))
    elif is_float(tensor) != is_float(target):
      rows.append((name, 'mistyped', str(tensor.dtype), str(target.dtype)))
  if not rows:
    return
  rows = [('tensor', 'fault', 'in the file', 'in the network')] + rows
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  lines = ['  '.join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
           for row in rows]
  raise WeightError('\n'.join(
      [f'{path} holds the weights of another network: {len(rows) - 1} tensors differ.', *lines]))


def is_float(leaf):
  """Whether an array has a floating dtype."""
  return jnp.issubdtype(leaf.dtype, jnp.floating)


def refuse_nonfinite(path, flat):
  """WeightError with the names of floating arrays in {name: array} that hold NaN or infinity."""
  bad = [name for name, leaf in flat.items() if is_float(leaf) and not np.isfinite(leaf).all()]
  if bad:
    raise WeightError(f'{path}: not finite in {", ".join(sorted(bad)[:8])}'
                      + (f' and {len(bad) - 8} more' if len(bad) > 8 else '') + '.')
