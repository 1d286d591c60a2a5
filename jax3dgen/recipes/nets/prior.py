"""Training the embedded prior in one call.

`run(config, workdir)` is what `python -m experiments.train_prior` calls. Calling it again resumes
from the newest whole checkpoint; a run whose steps are done writes its folder of weights again.
"""

import contextlib
import json
import pathlib

import jax
import jax.numpy as jnp
from ml_collections import FrozenConfigDict
import numpy as np

from jax3dgen.core import image as images
from jax3dgen.core import parallel
from jax3dgen.core.errors import ConfigError
from jax3dgen.data import figurine_examples, figurines, prompts
from jax3dgen.export import turntable
from jax3dgen.metrics import referee
from jax3dgen.prior import embedded, sampler
from jax3dgen.prior import words as vocabulary
from jax3dgen.recipes.nets import prior_assets, prior_config, prior_step
from jax3dgen.train import checkpoint, loop
from jax3dgen.train import workdir as workdirs

default_config = prior_config.default_config
REPEATS = 4  # samples of each kind in each colour that the card tells about
PHRASES = prompts.VIEW_PHRASES[1:]


def net_config(cfg):
  """What config.json beside the weights says: the sizes that `embedded.network` is built from."""
  return {'size': cfg.data.size, 'denoiser': dict(cfg.net),
          'text': {'words': len(figurine_examples.words()), 'length': figurine_examples.LENGTH,
                   **cfg.text}}


def initial_params(cfg, net):
  """New parameters, or those of the folder that config.init names ('shipped': the package's)."""
  if not cfg.init:
    return jax.jit(embedded.network(net)[0])(jax.random.key(cfg.seed))
  found, words, params = embedded.read(None if cfg.init == 'shipped' else cfg.init)
  if found != json.loads(json.dumps(net)) or words != figurine_examples.words():
    raise ConfigError(f'config.init={cfg.init}: those weights are of another network or '
                      'vocabulary; give config.net, config.text and config.data.size as in its '
                      'config.json.')
  return params


def drawer(cfg):
  """draw(key, batch) -> (image, caption ids): what config.data says, rendered on the device."""
  def draw(key, batch):
    example = figurine_examples.draw(key, batch, **cfg.data)
    return example.image, example.tokens
  return draw


def captions():
  """The captions of a sample grid, a row of ten per kind: every colour, then every view phrase."""
  rows = []
  for i, kind in enumerate(figurines.KINDS):
    rows += [f'a {color} {kind}' for color in figurines.COLORS]
    rows += [f'a {figurines.COLORS[(i + j) % len(figurines.COLORS)]} {kind}, {phrase}'
             for j, phrase in enumerate(PHRASES)]
  return rows


def sample_grid(cfg, prior, ids):
  """params -> one picture [H, W, 3] of a sample for each caption ids [B, L], always one noise."""
  columns = len(figurines.COLORS) + len(PHRASES)
  shape = (ids.shape[0], cfg.data.size, cfg.data.size, 3)

  @jax.jit
  def draw(params):
    cond, null = prior.embed(params, ids), prior.embed(params, jnp.zeros_like(ids))
    x0 = sampler.ddim(jax.random.key(0), prior, params, cond, null, shape, cfg.sample.steps,
                      cfg.sample.guidance, clip=1.0)
    return prior.decode(params, x0)

  return lambda params: images.grid(draw(params), columns)


def quality(params, net, guidance, steps, repeats):
  """The share of samples in which the shipped referee sees the kind and the colour asked for.

  {'samples', 'right', 'guidance', 'ddim'} of every kind in every colour, `repeats` times each.
  """
  prior, judge = embedded.make(net), referee.load()
  asked = np.array([(k, c) for k in range(len(figurines.KINDS))
                    for c in range(len(figurines.COLORS))])
  texts = [f'a {figurines.COLORS[c]} {figurines.KINDS[k]}' for k, c in asked]
  ids = vocabulary.tokenize(texts, figurine_examples.words(), net['text']['length'])
  shape = (len(asked), net['size'], net['size'], 3)

  @jax.jit
  def draw(params, key):
    cond, null = prior.embed(params, ids), prior.embed(params, jnp.zeros_like(ids))
    x0 = sampler.ddim(key, prior, params, cond, null, shape, steps, guidance, clip=1.0)
    seen = referee.classify(judge, prior.decode(params, x0))
    return (seen.kind.argmax(-1) == asked[:, 0]) & (seen.color.argmax(-1) == asked[:, 1])

  right = [np.asarray(draw(params, jax.random.key(i))) for i in range(repeats)]
  return {'samples': len(asked) * repeats, 'right': float(np.mean(right)), 'guidance': guidance,
          'ddim': steps}


def run(config, workdir, allow_change=False):
  """Trains into `workdir` and returns the folder of weights, `workdir`/weights."""
  parallel.initialize()
  workdir, cfg = pathlib.Path(workdir), FrozenConfigDict(config)
  count = parallel.share_batch(cfg.train.batch)
  net = net_config(cfg)
  prior, (_, embed, velocity) = embedded.make(net), embedded.network(net)
  tx = prior_step.optimiser(cfg)
  with workdirs.lock(workdir):
    workdirs.check_config(workdir, config, allow_change)
    state = prior_step.init_state(initial_params(cfg, net), tx)
    with contextlib.closing(checkpoint.Checkpoints(
        workdir / 'checkpoints', cfg.checkpoint.keep, json.dumps(config.to_dict()))) as checkpoints:
      start, state = checkpoints.restore(state) or (0, state)
      if start < cfg.train.steps:
        step = parallel.map(prior_step.make_step(
            embed, velocity, drawer(cfg), tx, cfg, count, parallel.AXIS), 0)
        ids = vocabulary.tokenize(captions(), figurine_examples.words(), net['text']['length'])
        grid = sample_grid(cfg, prior, ids)
        state = loop.optimise(
            cfg, workdir, [step] * (cfg.train.steps - start), start, state, checkpoints, 'prior',
            hooks=lambda writer: [(cfg.sample.every, previewer(workdir, grid, writer))])
    if parallel.is_main():
      facts = quality(state.ema, net, cfg.sample.guidance, cfg.sample.steps, REPEATS)
      prior_assets.write(workdir / 'weights', state.ema, net, figurine_examples.words(), config,
                         workdir / 'metrics.csv', facts | {
                             'kinds': ', '.join(figurines.KINDS),
                             'colors': ', '.join(figurines.COLORS)})
  return workdir / 'weights'


def previewer(workdir, grid, writer):
  """(step, replicated state) -> None: writes samples/STEP.png, and the picture to the events."""
  def write(done, replicated):
    picture = grid(parallel.unreplicate(replicated.ema))
    turntable.write_png(workdir / 'samples' / f'{done:06d}.png', images.enlarge(picture, 2))
    writer.image('samples', done, picture)
  return write
