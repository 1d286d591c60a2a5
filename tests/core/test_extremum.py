"""The least and the greatest entry: values and gradients of jnp.min and jnp.max, ties included."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax3dgen.core import extremum


@pytest.mark.parametrize('x', [[[3.0, 1.0, 2.0]], [[1.0, 5.0, 1.0], [5.0, 1.0, 2.0]], [[0.5]]])
@pytest.mark.parametrize('ours, theirs', [(extremum.lowest, jnp.min), (extremum.highest, jnp.max)])
def test_values_and_gradients_are_those_of_jax(x, ours, theirs):
  x = np.float32(x)
  both = jax.jit(lambda x: [jax.value_and_grad(f)(x) for f in (ours, theirs)])
  for result, expected in zip(*both(x)):
    np.testing.assert_array_equal(result, expected)
  # Forward, and of many at once.
  each = jax.jit(lambda rows: (jax.vmap(jax.jacfwd(ours))(rows), jax.vmap(jax.grad(theirs))(rows)))
  np.testing.assert_array_equal(*each(np.stack([x, 2 * x])))


def test_an_infinite_entry_leaves_the_gradient_finite():
  slope = jax.jit(jax.grad(lambda x: extremum.lowest(jnp.where(x > 0, x, jnp.inf))))(
      np.float32([-1.0, 2, 3]))
  np.testing.assert_array_equal(slope, [0, 1, 0])
