"""Features and logits of the Inception network of FID, from published weights."""

from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jax3dgen.core.types import Array
from jax3dgen.formats import convert, rules_inception
from jax3dgen.nn import inception

NAME = 'FID Inception (2015-12-05)'


class Outputs(NamedTuple):
  """features [B, 2048] and logits [B, 1008] of B images."""
  features: Array
  logits: Array


def load(path):
  """(apply, params): apply(params, images [B, H, W, 3] in [0, 1]) -> Outputs; differentiable.

  `path` is a safetensors file, or a folder of one, with the tensors of pytorch-fid's
  pt_inception-2015-12-05. Images are resized as there: bilinear, without antialiasing. WeightError
  for other weights.
  """
  net = inception.Inception()
  image = jnp.zeros((1, inception.SIZE, inception.SIZE, 3))
  target = jax.eval_shape(net.init, jax.random.key(0), image)['params']

  def apply(params, images):
    size = (len(images), inception.SIZE, inception.SIZE, 3)
    images = jax.image.resize(images, size, 'linear', antialias=False)
    return Outputs(*net.apply({'params': params}, 2 * images - 1))
  return apply, convert.load_tree(Path(path), rules_inception.RULES, target)
