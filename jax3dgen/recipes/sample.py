"""Pictures of prompts, sampled from a prior: a first check of new weights.

`run(config, workdir)` is what `python -m experiments.sample` calls.
"""

import pathlib

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np

from jax3dgen.core import image, rng
from jax3dgen.core.errors import ConfigError
from jax3dgen.export import turntable
from jax3dgen.prior import sampler, words
from jax3dgen.recipes.distill import config as distill_config
from jax3dgen.recipes.distill import parts as distill_parts

AT_LEAST = {'count': 1, 'steps': 1, 'eta': 0, 'clip': 0}


def default_config():
  """A locked ConfigDict: the embedded prior; an unknown field raises."""
  c = ConfigDict()
  c.prompts = ('a red bear', 'a blue robot')  # a row of the grid each
  c.negative = ''  # negative prompt, in place of the empty prompt of guidance
  c.perp_neg = False  # Perp-Neg: only the part of config.negative perpendicular to the prompt
  c.count = 4  # pictures of each prompt
  c.seed = 0  # seeds the noise, the same for every prompt
  c.prior = distill_config.default_config().prior
  c.sampler = 'ddim'  # ddim, euler or dpm_solver
  c.steps = 30  # of the sampler
  c.guidance = 4.0  # scale of classifier-free guidance
  c.rescale = 0.0  # guidance rescale: share of the conditional prediction's standard deviation
  c.eta = 0.0  # fresh noise of ddim: 0 none, 1 ancestral
  c.clip = 1.0  # bound of the clean estimate; 0: no bound
  return c.lock()


def check(config):
  """ConfigError for the first field with an invalid value."""
  if config.sampler not in sampler.SAMPLERS:
    raise ConfigError(f'config.sampler={config.sampler!r} is not one of '
                      f'{", ".join(sampler.SAMPLERS)}.')
  if config.eta and config.sampler != 'ddim':
    raise ConfigError(f'config.eta={config.eta}: only ddim takes it.')
  for name, least in AT_LEAST.items():
    if config[name] < least:
      raise ConfigError(f'config.{name}={config[name]!r} is not {least} or more.')
  if not config.prompts or not all(isinstance(prompt, str) for prompt in config.prompts):
    raise ConfigError(f'config.prompts={config.prompts!r} is not a tuple of texts.')
  if config.perp_neg and not config.negative:
    raise ConfigError('config.perp_neg needs config.negative, the negative prompt.')


def run(config, workdir):
  """Writes workdir/grid.png, a row of pictures for each prompt, and each picture beside it.

  Returns the pictures [P, N, H, W, 3] of P prompts.
  """
  check(config)
  prior, params, tokenize = distill_parts.open_prior(config.prior)
  texts = [*config.prompts, '', config.negative]
  rows = jax.jit(prior.embed)(params, tokenize(texts))
  params = {name: part for name, part in params.items() if name != 'text'}
  sample = sample_function(config, prior)
  pictures = []
  for i, prompt in enumerate(config.prompts):
    pictures.append(np.asarray(sample(params, rows, i)))
    for k, picture in enumerate(pictures[-1]):
      turntable.write_png(pathlib.Path(workdir) / f'{words.slug(prompt)}-{k}.png', picture)
  turntable.write_png(pathlib.Path(workdir) / 'grid.png',
                      image.grid(np.concatenate(pictures), config.count))
  return np.stack(pictures)


def sample_function(config, prior):
  """(params, rows, i) -> config.count pictures [N, H, W, 3] of the condition row i; compiled once.

  Of the rows, the last but one is the empty prompt and the last the negative one.
  """
  options = {'clip': config.clip or None, 'share': config.rescale}
  if config.eta:
    options['eta'] = config.eta

  @jax.jit
  def sample(params, rows, i):
    pick = lambda i: jax.tree.map(
        lambda leaf: jnp.broadcast_to(leaf[i], (config.count, *leaf.shape[1:])), rows)
    null, negative = pick(-2), pick(-1)
    extra = {'negative': negative} if config.perp_neg else {}
    return sampler.pictures(
        sampler.SAMPLERS[config.sampler], rng.stream(jax.random.key(config.seed), 'sample'), prior,
        params, pick(i), null if config.perp_neg or not config.negative else negative,
        config.steps, config.guidance, **options, **extra)
  return sample
