"""The shipped prior draws what it is told, in the eyes of the shipped referee."""

import jax
import numpy as np

from jax3dgen.metrics import referee
from jax3dgen.prior import embedded, sampler


def test_samples_at_guidance_4_show_the_kind_and_the_colour():
  labels, judge = referee.labels(), referee.load()
  prior, params, tokenize = embedded.load()
  asked = [(k, c) for k in range(len(labels.kinds)) for c in range(len(labels.colors))]
  ids = tokenize([f'a {labels.colors[c]} {labels.kinds[k]}' for k, c in asked])
  null = tokenize([''] * len(asked))

  @jax.jit
  def draw(key):
    x0 = sampler.ddim(key, prior, params, prior.embed(params, ids), prior.embed(params, null),
                      (len(asked), 32, 32, 3), 24, 4.0, clip=1.0)
    return prior.decode(params, x0)
  seen = referee.classify(judge, draw(jax.random.key(0)))
  kinds, colors = np.array(asked).T
  right = (seen.kind.argmax(-1) == kinds) & (seen.color.argmax(-1) == colors)
  assert right.mean() >= 0.95
