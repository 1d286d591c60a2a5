"""Rollouts of a multi-view prior for references: those of the pool, and samples of test objects.

Axes: G references, R rollouts of each, N = G R, V views, K steps of which W are stored.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jax3dgen.core import image as pictures
from jax3dgen.core import parallel
from jax3dgen.feedback import rollout, rollout_pairs
from jax3dgen.prior import multiview, sampler
from jax3dgen.recipes.preference import blocks


def levels(views, steps):
  """Noise levels [steps + 1] of rollouts, decreasing."""
  return sampler.times(views.schedule, steps)


def condition(views, params, picture, noise):
  """The condition of N samples of V views, with leaves [N, V, ...], for reference x_0 [N, h, w, c]
  and its noise [N, h, w, c]."""
  cond = views.condition(params, picture, noise)
  return jax.tree.map(lambda x: x.reshape(len(picture), multiview.VIEWS, *x.shape[1:]), cond)


def renew(cond, keys):
  """The condition with noise of the references by keys [N]: all views of a sample share it."""
  noise = jax.vmap(lambda key: jax.random.normal(key, cond.noise.shape[2:]))(keys)
  return cond.replace(noise=jnp.broadcast_to(noise[:, None], cond.noise.shape))


def predictor(views, params, guidance):
  """predict (x [N, V, h, w, c], t [N], cond) -> eps of a MultiviewPrior, for `feedback/rollout`."""
  return rollout.grouped(lambda x, t, cond: multiview.predict_guided(
      views, params, x, t, cond, guidance), multiview.VIEWS)


def scales(cfg):
  """Scales [R] of the noise on the reference of the R rollouts of config.rollout: 0 but for the
  source 'reference' or 'both'."""
  if cfg.source == 'sampler':
    return np.zeros(cfg.samples, np.float32)
  return np.resize(np.asarray(cfg.scales, np.float32), cfg.samples)


@functools.cache
def program(views, sampler_cfg, cfg, window):
  """draw((pictures [G, S, S, 3], numbers [G] int32), params, seed) -> host arrays, by all devices.

  {'x': [G, R, W + 1, V, h, w, c], 'log_prob': [G, R, W], 'picture': [G, R, h, w, c],
  'reference_key': [G, R, ...] uint32, 'x0': [G, R, V, h, w, c]}: the stored states of the steps
  first to last of `window`, the x_0 of the reference with its perturbation, the data of the keys of
  the reference's noise, and the clean end. `cfg` is the section config.rollout; the noise of a row
  depends on `seed` and its number alone.
  """
  first, last = window
  count, scale = cfg.samples, scales(cfg)

  def draw(batch, params, seed):
    pictures, numbers = batch
    keys, perturbation = rollout_pairs.keys(jax.random.key(seed), numbers, count, cfg.source)
    x0 = jnp.repeat(views.encode(params, pictures), count, 0)
    x0 = rollout_pairs.perturbed(perturbation, x0, jnp.tile(scale, len(numbers)))
    cond = condition(views, params, x0, jnp.zeros_like(x0))
    out = rollout.sample(predictor(views, params, sampler_cfg.guidance), views.schedule,
                         levels(views, sampler_cfg.steps), keys, cond,
                         (len(x0), multiview.VIEWS, *x0.shape[1:]), sampler_cfg.eta, views.clip,
                         renew)
    by_reference = lambda x: x.reshape(len(numbers), count, *x.shape[1:])
    return jax.tree.map(by_reference, {
        'x': jnp.moveaxis(out.x[first:last + 2], 0, 1),
        'log_prob': out.log_prob[first:last + 1].T, 'picture': x0,
        'reference_key': jax.random.key_data(keys.reference), 'x0': out.x0})
  return parallel.split(draw, 2)


def run(problem, model, images, sampler_cfg, cfg, seed, window, batch, folder, title,
        names=('x', 'log_prob', 'picture', 'reference_key', 'x0')):
  """{name: host array [G, R, ...]} of `program` for all references of `images`, in blocks.

  `batch` rollouts are drawn at a time; only `names` are kept.
  """
  size = max(batch // cfg.samples, 1)
  draw, placed = program(problem.views, sampler_cfg, cfg, window), parallel.broadcast(model.params)
  reference = images.reference

  def compute(rows):
    full = np.resize(rows, -(-size // jax.process_count()))  # one size: one program is compiled
    out = draw((reference[full], full.astype(np.int32)), placed, np.int32(seed))
    return {name: np.asarray(out[name])[:len(rows)] for name in names}
  schedule, grid = problem.views.schedule, levels(problem.views, sampler_cfg.steps)
  noise = {name: np.asarray(getattr(schedule, name)(grid)) for name in ('alpha', 'sigma')}
  key = blocks.digest(model.key, noise | {'reference': reference}, sampler_cfg.to_dict(),
                      cfg.to_dict(), seed, list(window), size, list(names))
  return blocks.run(folder, len(reference), size, key, compute, title)


def decoded(problem, params, x0):
  """Pictures [..., V, S, S, 3] in [0, 1] of clean samples [..., V, h, w, c], on the host.

  S is the size of the references, to which the views of a prior of another size are resized.
  """
  decode = _decoder(problem.views, problem.pool.reference.shape[1])
  rows = decode(x0.reshape(-1, *x0.shape[-4:]), parallel.broadcast(params))
  return rows.reshape(*x0.shape[:-3], *rows.shape[2:])


@functools.cache
def _decoder(views, size):
  def decode(batch, params):
    # One object at a time: an autoencoder of full size needs gigabytes for a picture.
    return jax.lax.map(lambda x: jnp.clip(pictures.resize(
        views.decode(params, x), (size, size)), 0.0, 1.0), batch)
  return parallel.split(decode, 1)
