"""A prior, for `config.prior.name`, of grey noise; it notes the texts that it tokenizes."""

import jax.numpy as jnp

from tests.fakes import gaussian

TOKENIZED = []  # the texts, in order


def load(weights):
  prior, params = gaussian.prior(0.5, 0.1)
  return prior, params, tokenize


def tokenize(texts):
  TOKENIZED.extend(texts)
  return jnp.zeros((len(texts),), jnp.float32)
