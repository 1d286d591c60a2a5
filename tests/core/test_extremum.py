"""The least and the greatest entry: values and gradients of jnp.min and jnp.max, ties included."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax3dgen.core import extremum


@pytest.mark.parametrize('x', [[[3.0, 1.0, 2.0]], [[1.0, 5.0, 1.0], [5.0, 1.0, 2.0]], [[0.5]]])
@pytest.mark.parametrize('ours, theirs', [(extremum.lowest, jnp.min), (extremum.highest, jnp.max)])
def test_values_and_gradients_are_those_of_jax(x, ours, theirs):
  x = jnp.array(x)
  for found, expected in zip(jax.value_and_grad(ours)(x), jax.value_and_grad(theirs)(x)):
    np.testing.assert_array_equal(found, expected)
  # Forward, and of many at once.
  rows = jnp.stack([x, 2.0 * x])
  np.testing.assert_array_equal(jax.vmap(jax.jacfwd(ours))(rows), jax.vmap(jax.grad(theirs))(rows))


def test_an_infinite_entry_is_no_trouble():
  slope = jax.grad(lambda x: extremum.lowest(jnp.where(x > 0, x, jnp.inf)))(jnp.array([-1.0, 2, 3]))
  np.testing.assert_array_equal(slope, [0, 1, 0])
