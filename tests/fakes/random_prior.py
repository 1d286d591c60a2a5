"""A small embedded prior with random weights, for `config.prior.name`; it knows no words."""

import jax
import numpy as np

from jax3dgen.prior import embedded
from tests import nets

SIZES = {'size': 8, 'text': {'words': 9, 'length': 4, 'width': 16, 'depth': 1, 'heads': 2},
         'denoiser': {'channels': (16,), 'embedding': 32, 'head_width': 8}}


def load(weights):
  prior = embedded.make(SIZES)
  params = nets.random_parameters(prior.init, jax.random.key(0))
  tokenize = lambda texts: np.array([[len(text) % 9, 1, 0, 0] for text in texts], np.int32)
  return prior, params, tokenize
