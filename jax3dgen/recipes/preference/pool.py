"""The pool of a round: samples of the pool's images, and their labels."""

import jax
import numpy as np

from jax3dgen.recipes.preference import blocks, sample
from jax3dgen.recipes.preference import label as labels
from jax3dgen.recipes.preference import problem as problems


def noises(problem, cfg, round_number, rows):
  """(image [n], noise [n, ...]) of rows [n] of the pool of a round."""
  image, number = np.divmod(rows, cfg.pool.samples)
  return image, sample.noises(problem.generator.shape, (cfg.pool.seed, round_number), image, number)


def generate(problem, model, cfg, round_number, folder):
  """Latents [I config.pool.samples, ...] float32 of the Model, image by image."""
  images = problem.pool
  draw, _ = sample.programs(problem.generator, model.params, cfg.sampler, cfg.batch)

  def compute(rows):
    image, noise = noises(problem, cfg, round_number, rows)
    return {'latent': draw(noise, jax.tree.map(lambda x: x[image], images.cond))}
  key = blocks.digest(model.key, problems.images_digest(images), cfg.pool.to_dict(), round_number,
                      cfg.sampler.to_dict(), cfg.batch)
  count = len(images.object) * cfg.pool.samples
  return blocks.run(folder, count, cfg.batch, key, compute, 'generate')['latent']


def label(problem, latent, cfg, folder):
  """`label.label` of latents [N, ...], and finite [N], whether those are."""
  _, decode = sample.programs(problem.generator, problem.params, cfg.sampler, cfg.batch)

  def compute(rows):
    part = latent[rows]
    finite = np.isfinite(part).reshape(len(rows), -1).all(1)
    logits = decode(part)
    return labels.label(logits, cfg.label, cfg.pairs.by == 'margin') | {'finite': finite}
  key = blocks.digest({'latent': latent}, cfg.label.to_dict(), cfg.pairs.by, cfg.batch)
  return blocks.run(folder, len(latent), cfg.batch, key, compute, 'label')
