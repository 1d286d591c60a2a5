"""The Field record of scene representations, and shared density activations and biases.

Densities are in 1/unit and >= 0, colours sRGB in [0, 1], positions in the box [-1, 1]^3, +z is up.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

Array = jax.Array

EXP_LIMIT = 15.0  # exp(15) = 3.3e6 per unit is opaque within a micrometre of a metre-sized object


class Sample(NamedTuple):
  """A field at points [..., 3]: density [...] and rgb [..., 3]."""
  density: Array
  rgb: Array


class Field(NamedTuple):
  """A scene representation.

  init (key) -> params; query (params, xyz [..., 3], frac, key=None) -> Sample. `frac` in [0, 1]
  enables progressive detail, where a representation has it; a `key` draws the noise of training
  views, likewise. background (params, direction [..., 3]) -> colours [..., 3] behind training
  views, None where none is learned.
  """
  init: Callable
  query: Callable
  background: Callable | None = None


@jax.custom_jvp
def truncated_exp(x):
  """exp(min(x, 15)), whose derivative does not vanish beyond the limit (torch-ngp's trunc_exp)."""
  return jnp.exp(jnp.minimum(x, EXP_LIMIT))


@truncated_exp.defjvp
def _truncated_exp_jvp(primals, tangents):
  value = truncated_exp(*primals)
  return value, value * tangents[0]


ACTIVATIONS = {'softplus': jax.nn.softplus, 'exp': truncated_exp}


def no_blob(radius2):
  """No bias."""
  return jnp.zeros_like(radius2)


def blob_magic3d(radius2, scale=10.0, std=0.5):
  """scale (1 - |x| / std) at squared distances |x|^2 from the origin (Magic3D)."""
  positive = radius2 > 0
  radius = jnp.where(positive, jnp.sqrt(jnp.where(positive, radius2, 1.0)), 0.0)
  return scale * (1.0 - radius / std)


def blob_dreamfusion(radius2, scale=10.0, std=0.5):
  """scale exp(-|x|^2 / (2 std^2)) at squared distances |x|^2 from the origin (DreamFusion)."""
  return scale * jnp.exp(-radius2 / (2.0 * std**2))


BLOBS = {'magic3d': blob_magic3d, 'dreamfusion': blob_dreamfusion, 'none': no_blob}
