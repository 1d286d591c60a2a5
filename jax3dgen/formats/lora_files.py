"""LoRA files of diffusers, PEFT and kohya, converted to the adapters of `nn/lora`.

A layer of a file changes a kernel by strength * alpha / rank * up down; alpha / rank (1 where the
file has no alpha) is multiplied into `b`, so that `lora.merge(tree, adapters, strength)` is the
adapted network. Other kinds of adapters (LoCon's middle kernels, LoHa, DoRA) are refused, by the
names of their tensors.
"""

import json
import math
import warnings

import jax
import jax.numpy as jnp
import numpy as np

from jax3dgen.core import header, hub, weights
from jax3dgen.core import tree as trees
from jax3dgen.core.errors import WeightError
from jax3dgen.formats import convert, rules_lora

MEMBERS = ('down', 'up', 'alpha')
SETTINGS = 'lora_adapter_metadata'  # of diffusers, in the header: {'unet.lora_alpha': 8}
PEFT, PEFT_SETTINGS = 'base_model.model.', 'adapter_config.json'  # in its names; beside the file
# Initial values of PEFT that change the weights of the network as well, by the start of their name.
CHANGED = ('pissa', 'olora', 'corda', 'loftq')


def load(path, params):
  """{part: adapters} of a safetensors file; `params` has the trees of the parts that it may adapt,
  by their names in diffusers: {'unet': ..., 'text_encoder': ..., 'text_encoder_2': ...}. PEFT's
  names do not tell the text encoders apart: the part of its files is 'text_encoder'. Its
  adapter_config.json is read beside the file; without one alpha / rank is 1, with a warning.

  WeightError, with one table, for tensors that are no member of an adapter of these trees, are
  missing, or have another shape; an adapter is never left out.
  """
  tensors = weights.open_all(path)
  return to_adapters(tensors, params, _settings(path, tensors, params), path)


def _settings(path, tensors, parts):
  """{'part.setting': value} of PEFT or diffusers."""
  file = weights.find(path)[1][0]
  if any(PEFT in name for name in tensors):
    beside = file.with_name(PEFT_SETTINGS)
    if beside.is_file():
      return {f'{part}.{key}': x for part in parts for key, x in hub.read_json(beside).items()}
    if not any(name.endswith('.alpha') for name in tensors):
      warnings.warn(f'{path} has the names of PEFT without its {PEFT_SETTINGS}, which holds alpha; '
                    'alpha / rank = 1 is assumed.', stacklevel=3)
  try:
    return dict(json.loads(header.metadata(file).get(SETTINGS, '{}')))
  except (ValueError, TypeError, RecursionError) as error:
    raise WeightError(f'{path}: {SETTINGS} in its header is no JSON object.') from error


def to_adapters(tensors, params, settings=None, where='this file'):
  """`load` of {name: array}; `settings` are {'part.name': value}: {'unet.lora_alpha': 8}."""
  kernels = {(part, name.removesuffix('/kernel').replace('/', '_')): (name, leaf.shape)
             for part, tree in params.items() for name, leaf in trees.named(tree).items()
             if name.endswith('/kernel')}
  layers, expected = {}, {}
  for name, place in convert.names(rules_lora.RULES, tensors).items():
    part, _, rest = place.partition('/')
    layer, _, member = rest.partition('/')
    if (part, layer) in kernels and member in MEMBERS:
      members = layers.setdefault((part, layer), {})
      if member in members:
        raise WeightError(f'{where}: {members[member]!r} and {name!r} are the same adapter.')
      members[member] = name
  for place, members in layers.items():
    expected |= _shapes(tensors, members, kernels[place][1])
  weights.match(where, {name: _flat(tensors[name]) for name in tensors}, expected)
  adapters = {}
  for (part, layer), members in layers.items():
    arrays = {member: np.asarray(_flat(tensors[name]), np.float32)
              for member, name in members.items()}
    weights.refuse_nonfinite(where, {members[member]: x for member, x in arrays.items()})
    rank = len(arrays['down'])
    scale = (float(arrays['alpha']) / rank if 'alpha' in arrays else
             _scale(settings, part, rank, where))
    down = np.moveaxis(arrays['down'], 1, -1).reshape(rank, -1)
    adapters.setdefault(part, {})[kernels[part, layer][0]] = {
        'a': jnp.array(down), 'b': jnp.array(scale * arrays['up'], jnp.float32)}
  return adapters


def _flat(array):
  """An array without kernel axes of size 1, a single number without axes."""
  if array.size == 1 and array.ndim < 2:
    return array.reshape(())
  return array.reshape(array.shape[:2]) if set(array.shape[2:]) == {1} else array


def _shapes(tensors, members, kernel):
  """{name: expected shape and dtype} of the members of a layer whose kernel has the shape `kernel`;
  a missing one is named after its other half."""
  *pixels, inward, outward = kernel
  pixels = [] if set(pixels) <= {1} else pixels
  halves = {'down': members.get('down'), 'up': members.get('up')}
  ranks = [tensors[name].shape[half == 'up'] for half, name in halves.items()
           if name and tensors[name].ndim > 1]
  rank = next(iter(ranks), 1) or 1
  shapes = {'down': (rank, inward, *pixels), 'up': (outward, rank), 'alpha': ()}
  other = {'down': 'up', 'up': 'down'}
  names = members | {half: f'{half} of {members.get(other[half], members.get("alpha"))}'
                     for half, name in halves.items() if not name}
  return {name: jax.ShapeDtypeStruct(shapes[member], jnp.float32) for member, name in names.items()}


def _scale(settings, part, rank, where):
  """alpha / rank of a part by its settings."""
  values = {key.removeprefix(f'{part}.'): value for key, value in (settings or {}).items()
            if key.startswith(f'{part}.')}
  if values.get('alpha_pattern'):
    raise WeightError(f'{where}: its layers have an alpha each (alpha_pattern), which is not '
                      'supported.')
  kind, initial = values.get('peft_type', 'LORA'), str(values.get('init_lora_weights')).lower()
  if kind != 'LORA':
    raise WeightError(f'{where}: its adapters are of the kind {kind!r}; LORA is supported.')
  if initial.startswith(CHANGED):
    raise WeightError(f'{where}: its adapters began as {initial!r} and fit only a network that was '
                      'changed at the same time; convert them to plain LoRA by PEFT first.')
  alpha = values.get('lora_alpha', rank)
  if isinstance(alpha, bool) or not isinstance(alpha, (int, float)) or not math.isfinite(alpha):
    raise WeightError(f'{where}: its lora_alpha is {alpha!r}, no number.')
  return alpha / (math.sqrt(rank) if values.get('use_rslora') else rank)
