"""Perceptual distance of two pictures: LPIPS by its published weights, or one of embedded features.

Axes: B pairs of pictures, S pixels per side, P patches, C channels.
"""

import functools

import jax
import jax.numpy as jnp

from jax3dgen.core import image
from jax3dgen.formats import features
from jax3dgen.perception import contrastive, lpips

SIDE = 64  # pixels per side that LPIPS gets, at least: at 32 its last map has one place


@functools.cache
def load(weights=''):
  """(name, distance): `distance` of pictures ([B, S, S, 3], [B, S, S, 3]) in [0, 1] -> [B].

  name is 'lpips' with the `weights` of `perception.lpips.load` (AlexNet), in a file or a folder;
  without them it is 'feature_distance', by `feature_distance` with the shipped features.
  """
  if not weights:
    apply, params = features.load()
    return 'feature_distance', jax.jit(lambda a, b: feature_distance(apply, params, a, b))
  apply, params = lpips.load(weights)

  def distance(a, b):
    size = 2 * (max(SIDE, a.shape[1]),)
    return apply(params, image.resize(a, size), image.resize(b, size))
  return 'lpips', jax.jit(distance)


def feature_distance(apply, params, a, b):
  """[B]: the mean over patches of |u - v|^2, with u and v the patch features of the pictures a and
  b, of unit length; 0 to 4. `apply`, `params` are those of `formats.features.load`.

  The form is that of a layer of LPIPS without its weights of channels; the values are not LPIPS's.
  """
  u, v = (contrastive.unit(apply(params, x).patches) for x in (a, b))
  return jnp.square(u - v).sum(-1).mean((1, 2))
