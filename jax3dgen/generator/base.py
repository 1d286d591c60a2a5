"""The Generator record: a rectified flow over voxel latents, with an autoencoder of occupancy.

x_t = (1 - t) x_0 + t eps with t in [0, 1], 0 = clean, and the velocity v = eps - x_0. Axes: B
samples, r voxels per side and c channels of a latent, R voxels per side of the occupancy, H and W
pixels. Voxel axes are x, y, z of the project's frame (+z up); voxel (i, j, k) of R^3 is centred at
((i, j, k) + 0.5) / R - 0.5.
"""

from collections.abc import Callable
from typing import NamedTuple


class Generator(NamedTuple):
  """An image-to-3D generator.

  init (key) -> params, a dict with 'flow', 'decoder', 'encoder' and 'image', each where the model
  has that part; embed (params, images [B, H, W, 3 or 4] in [0, 1], with alpha where there is a
  fourth channel) -> Cond; velocity (params, x_t [B, r, r, r, c], t [B] in [0, 1], cond) -> v
  [B, r, r, r, c]; encode (params, occupancy [B, R, R, R]) -> x_0 [B, r, r, r, c]; decode (params,
  x_0) -> logits [B, R, R, R], occupied where they are positive, differentiable; shape (r, r, r, c).
  """
  init: Callable
  embed: Callable
  velocity: Callable
  encode: Callable
  decode: Callable
  shape: tuple
