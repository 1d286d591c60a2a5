"""Generators from networks: the published ones (`trellis`) and the small ones of this project."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp

from jax3dgen.core import image as pictures
from jax3dgen.core import rng
from jax3dgen.core.errors import ConfigError, WeightError
from jax3dgen.core.types import Cond
from jax3dgen.generator import base


class ImageNetwork(NamedTuple):
  """init (key) -> params; tokens (params, images [B, size, size, 3] in [0, 1]) -> [B, L, D];
  `background` is the grey level behind images with an alpha channel."""
  init: Callable
  tokens: Callable
  size: int
  background: float = 0.0


def assemble(flow, decoder, encoder, image, shape, normalization=None):
  """The Generator of a `dit.FlowTransformer`, a `voxel_autoencoder.Decoder` and `Encoder`, and an
  ImageNetwork; each of them may be None.

  A function of the generator whose network is None raises a WeightError. `shape` is (r, r, r, c).
  x_0 is the autoencoder's latent, or, with `normalization` = (mean [c], spread [c]),
  (latent - mean) / spread.
  """
  channels = shape[-1]
  mean, spread = (jnp.asarray(x, jnp.float32).reshape(1, 1, 1, 1, channels)
                  for x in normalization or ([0.0] * channels, [1.0] * channels))

  def init(key):
    zeros = lambda *shape: jnp.zeros((1, *shape))
    inputs = {}
    if flow is not None:
      inputs['flow'] = flow, (zeros(*shape), zeros(), zeros(1, flow.context))
    if decoder is not None:
      inputs['decoder'] = decoder, (zeros(*shape),)
    if encoder is not None:
      side = shape[0] * 2 ** (len(encoder.channels) - 1)
      inputs['encoder'] = encoder, (zeros(side, side, side),)
    params = {part: net.init(rng.stream(key, part), *x)['params']
              for part, (net, x) in inputs.items()}
    if image is not None:
      params['image'] = image.init(rng.stream(key, 'image'))
    return params

  def embed(params, images):
    require('image network', image)
    if images.ndim != 4 or images.shape[-1] not in (3, 4):
      raise ConfigError(f'Images have the shape [B, H, W, 3 or 4], not {images.shape}.')
    if images.shape[-1] == 4:
      images = pictures.over(images, image.background)
    images = pictures.resize(images, (image.size, image.size))
    return Cond(image.tokens(params['image'], images))

  def velocity(params, x_t, t, cond):
    require('flow transformer', flow)
    if x_t.shape[1:] != tuple(shape) or cond.tokens.shape[2:] != (flow.context,):
      raise ConfigError(f'This flow transformer takes latents {("B", *shape)} and tokens '
                        f'{("B", "L", flow.context)}, not {x_t.shape} and {cond.tokens.shape}.')
    t = 1000.0 * jnp.asarray(t, jnp.float32)
    return flow.apply({'params': params['flow']}, x_t, t, cond.tokens)

  def encode(params, occupancy):
    require('encoder', encoder)
    latent = encoder.apply({'params': params['encoder']}, jnp.asarray(occupancy, jnp.float32))
    return (latent[..., :channels] - mean) / spread

  def decode(params, x0):
    require('decoder', decoder)
    return decoder.apply({'params': params['decoder']}, x0 * spread + mean)

  return base.Generator(init, embed, velocity, encode, decode, tuple(shape))


def require(name, net):
  """WeightError where a generator has no `net`."""
  if net is None:
    raise WeightError(f'This generator has no {name}: its weights are not among those that were '
                      'loaded.')
