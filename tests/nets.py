"""Random parameters of nets."""

import jax
import numpy as np


def random_parameters(init, *args, scale=0.1):
  """Parameters with the shapes of init(*args), normal numbers of NumPy: none is zero."""
  rng = np.random.default_rng(0)
  return jax.tree.map(lambda x: scale * rng.normal(size=x.shape).astype(np.float32),
                      jax.eval_shape(init, *args))
