"""Samples of a generator for rows of images, over all devices of this process."""

import functools

import jax
import numpy as np

from jax3dgen.core import parallel
from jax3dgen.feedback import reward
from jax3dgen.generator import flow
from jax3dgen.nn import lora
from jax3dgen.physics import occupancy


def noises(shape, seed, image, number):
  """Noise [n, *shape] float32 of the samples of number [n] of image [n]; each follows from `seed`,
  a tuple of numbers, and its own two numbers alone."""
  return np.stack([np.random.default_rng((*seed, int(i), int(k))).standard_normal(shape, np.float32)
                   for i, k in zip(image, number, strict=True)])


def merged(params, adapters, scale):
  """The generator's parameters with adapters of the flow merged into it."""
  return params | {'flow': _merge(params['flow'], adapters, scale)}


_merge = jax.jit(lora.merge)


def programs(generator, params, cfg, size):
  """(sample, decode) over all devices of this process, for its share of `size` rows: always as
  many, so that each network compiles once.

  sample: (noise [n, ...], cond of n rows) -> latents [n, ...] by `cfg`, the section
  config.sampler; decode: latents -> logits [n, R, R, R]. All are host arrays.
  """
  velocity, decode = _compiled(generator)
  placed = parallel.broadcast(params)
  split = generator._replace(velocity=lambda _, *batch: velocity(batch, placed))
  options = {name: cfg[name] for name in ('steps', 'rescale_t', 'guidance', 'interval')}
  if cfg.margin:
    options['adjust'] = reward.toward(lambda latent: generator.decode(params, latent),
                                      occupancy.margin, cfg.margin)
  rows = -(-size // jax.process_count())
  pad = lambda x: np.concatenate([x, np.repeat(x[-1:], rows - len(x), 0)])

  def sample(noise, cond):
    full = jax.tree.map(pad, cond)
    null = jax.tree.map(np.zeros_like, full)
    latent = flow.integrate(pad(noise), split, None, full, null, **options)
    return np.asarray(latent)[:len(noise)]
  return sample, lambda latent: decode(pad(latent), placed)[:len(latent)]


@functools.cache
def _compiled(generator):
  """(velocity of a batch (x_t, t, cond), decode), split over the devices."""
  return (parallel.split(lambda batch, params: generator.velocity(params, *batch), 1),
          parallel.split(lambda latent, params: generator.decode(params, latent), 1))
