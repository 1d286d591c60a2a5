"""Repeated items against numpy.repeat."""

import jax
import numpy as np
import pytest

from jax3dgen.scene import lists

expand = jax.jit(lists.expand, static_argnums=1)


@pytest.mark.parametrize('size', [40, 28, 7])
def test_items_are_repeated(size):
  counts = np.random.default_rng(0).integers(0, 4, 17).astype(np.int32)
  item, place, valid, total = expand(counts, size)
  want = np.repeat(np.arange(17), counts)
  first = np.searchsorted(want, want)  # where the repetitions of an item begin
  assert total == len(want) == 28
  shown = min(size, len(want))
  np.testing.assert_array_equal(valid, np.arange(size) < len(want))
  np.testing.assert_array_equal(item[:shown], want[:size])
  np.testing.assert_array_equal(place[:shown], (np.arange(len(want)) - first)[:size])
  assert (0 <= item).all() and (item < 17).all()
