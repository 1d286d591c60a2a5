"""Nets in tests: small ones take longer to compile than to run."""

import functools

import jax
import numpy as np

quick = functools.partial(jax.jit, compiler_options={'xla_backend_optimization_level': 0})


def drawn(init, *args, scale=0.1):
  """Parameters with the shapes of init(*args), normal numbers of NumPy: none is zero."""
  rng = np.random.default_rng(0)
  return jax.tree.map(lambda x: scale * rng.normal(size=x.shape).astype(np.float32),
                      jax.eval_shape(init, *args))
