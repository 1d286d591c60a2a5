"""A prior, for `config.prior.name`, of grey noise that is brighter where the prompt says blue."""

import jax.numpy as jnp

from tests.fakes import gaussian


def load(weights):
  prior, params = gaussian.prior(0.5, 0.1)
  return prior, params, lambda texts: jnp.array([0.3 * ('blue' in text) for text in texts])
