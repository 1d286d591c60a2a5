"""Samples of the embedded prior: grids while it trains, and how many show what their caption says.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jax3dgen.core import image as images
from jax3dgen.core import parallel
from jax3dgen.data import figurine_examples, figurines, prompts
from jax3dgen.export import turntable
from jax3dgen.metrics import referee
from jax3dgen.prior import embedded, sampler
from jax3dgen.prior import words as vocabulary

PHRASES = prompts.VIEW_PHRASES[1:]


def captions():
  """The captions of a sample grid, a row of ten per kind: every colour, then every view phrase."""
  rows = []
  for i, kind in enumerate(figurines.KINDS):
    rows += [f'a {color} {kind}' for color in figurines.COLORS]
    rows += [f'a {figurines.COLORS[(i + j) % len(figurines.COLORS)]} {kind}, {phrase}'
             for j, phrase in enumerate(PHRASES)]
  return rows


def sampled(prior, ids, size, steps, guidance):
  """(params, key) -> images [B, size, size, 3] in [0, 1] of caption ids [B, L], by DDIM."""
  def draw(params, key):
    cond, null = prior.embed(params, ids), prior.embed(params, jnp.zeros_like(ids))
    x0 = sampler.ddim(key, prior, params, cond, null, (len(ids), size, size, 3), steps, guidance,
                      clip=1.0)
    return prior.decode(params, x0)
  return draw


def ids_of(texts, net):
  """Caption ids [B, L] int32 of texts, for the nets whose sizes are `net` (config.json)."""
  return vocabulary.tokenize(texts, figurine_examples.words(), net['text']['length'])


def previewer(cfg, net, workdir, writer):
  """(step, replicated state) -> None: writes samples/STEP.png, and the picture to the events.

  Every picture is a grid of one sample for each of `captions`, always of the same noise.
  """
  draw = jax.jit(sampled(embedded.make(net), ids_of(captions(), net), net['size'],
                         cfg.sample.steps, cfg.sample.guidance))
  columns = len(figurines.COLORS) + len(PHRASES)

  def write(step, replicated):
    params = parallel.unreplicate(replicated.ema)
    picture = images.grid(draw(params, jax.random.key(0)), columns)
    turntable.write_png(workdir / 'samples' / f'{step:06d}.png', images.enlarge(picture, 2))
    writer.image('samples', step, picture)
  return write


def quality(params, net, guidance, steps, repeats):
  """The share of samples in which the shipped referee reads the caption's kind and colour.

  {'samples', 'right', 'guidance', 'ddim'} of every kind in every colour, `repeats` times each; the
  samples of repeat i are of the noise of key i.
  """
  classifier = referee.load()
  labels = np.array([(k, c) for k in range(len(figurines.KINDS))
                     for c in range(len(figurines.COLORS))])
  texts = [f'a {figurines.COLORS[c]} {figurines.KINDS[k]}' for k, c in labels]
  draw = sampled(embedded.make(net), ids_of(texts, net), net['size'], steps, guidance)

  @jax.jit
  def correct(params, key):
    judgement = referee.classify(classifier, draw(params, key))
    return ((judgement.kind.argmax(-1) == labels[:, 0])
            & (judgement.color.argmax(-1) == labels[:, 1]))

  right = [np.asarray(correct(params, jax.random.key(i))) for i in range(repeats)]
  return {'samples': len(labels) * repeats, 'right': float(np.mean(right)), 'guidance': guidance,
          'ddim': steps}
