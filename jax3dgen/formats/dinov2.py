"""Published weights of DINOv2 (Oquab et al. 2023), with registers (Darcet et al. 2023) or without.

Sizes are those of the tensors, so that one function reads ViT-S, B, L and g.
"""

import math
import re

import jax
import jax.numpy as jnp
import numpy as np

from jax3dgen.core import hub, types, weights
from jax3dgen.core.errors import WeightError
from jax3dgen.formats import convert, rules_dinov2
from jax3dgen.nn import vit

MEAN, SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet
KINDS = ('dinov2', 'dinov2_with_registers')
HEAD = 64  # channels of a head, in all published sizes
APART = re.compile(r'(.*\.attention\.attention)\.query\.(weight|bias)')


def read(path, dtype=jnp.float32):
  """(ViT, its parameters in `dtype`) of a folder or safetensors file.

  The layout is that of transformers, where a config.json lies beside it, else that of the authors;
  positions are interpolated as in the respective code. WeightError for other files.
  """
  path = hub.resolve(path)
  dtype = types.float_dtype(dtype)
  config = _config(path if path.is_dir() else path.parent)
  tensors = join_qkv(weights.open_all(path))
  try:
    net = _net(tensors, config, dtype)
    image = jnp.zeros((1, net.patch, net.patch, 3))
    target = jax.eval_shape(net.init, jax.random.key(0), image)['params']
  except (KeyError, IndexError, TypeError, ValueError, ZeroDivisionError) as error:
    raise WeightError(f'{path} does not hold a DINOv2 ({str(error).splitlines()[0]}).') from error
  return net, convert.to_tree(tensors, rules_dinov2.RULES, target, where=path)


def join_qkv(tensors):
  """{name: array} with separate query, key and value tensors joined to one, in that order."""
  result = dict(tensors)
  for name in tensors:
    if match := APART.fullmatch(name):
      layer, part = match.groups()
      parts = [f'{layer}.{which}.{part}' for which in ('query', 'key', 'value')]
      if all(x in result for x in parts):
        result[f'{layer}.qkv.{part}'] = np.concatenate([result.pop(x) for x in parts])
  return result


def _config(folder):
  """The config.json of transformers' layout, or None where there is none."""
  path = folder / 'config.json'
  if not path.is_file():
    return None
  config = hub.read_json(path)
  kind = config.get('model_type')
  if kind not in KINDS:
    raise WeightError(f'{path} describes a model of the kind {kind!r}; features are of '
                      f'{" or ".join(KINDS)}.')
  return config


def _net(tensors, config, dtype):
  """The ViT whose parameters the tensors are."""
  paths = convert.names(rules_dinov2.RULES, tensors)
  shapes = {path: tensors[name].shape for name, path in paths.items()}
  width = shapes['cls_token'][-1]
  depth = len({path.split('/')[0] for path in shapes if path.startswith('block_')})
  return vit.ViT(
      width, depth, (config or {}).get('num_attention_heads', width // HEAD),
      patch=shapes['patch_embed/kernel'][-1], grid=math.isqrt(shapes['pos_embed'][1] - 1),
      registers=shapes.get('register_tokens', (1, 0))[1], gated='block_0/w12/kernel' in shapes,
      offset=0.0 if config else 0.1, dtype=dtype, param_dtype=dtype,
      remat=True)  # the attention of 560 pixels a side would be 0.7 GB an image
