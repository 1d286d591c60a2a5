"""Matches of dense features: against a loop over pairs of patches, equal maps, exchanged images."""

import jax
import jax.numpy as jnp
import numpy as np

from jax3dgen.formats import features
from jax3dgen.nn import loftr
from jax3dgen.perception import matching

count = jax.jit(matching.count)


def draw(*shape, seed=0):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_count_is_that_of_a_loop():
  first = draw(5, 12, 8)
  second = first[:, ::-1] + 0.8 * draw(5, 12, 8, seed=1)
  for a, b, ours in zip(first, second, np.asarray(count(first, second)), strict=True):
    a, b = (x / np.linalg.norm(x, axis=-1, keepdims=True) for x in (a, b))
    weight = np.exp(a @ b.T / 0.1)
    value = weight / weight.sum(1, keepdims=True) * weight / weight.sum(0)
    pairs = [(i, j) for i in range(12) for j in range(12) if value[i, j] > 0.2
             and j == value[i].argmax() and i == value[:, j].argmax()]
    assert ours == len(pairs)
  assert 0 < count(first, second).sum() < 60


def test_equal_maps_match_everywhere_and_images_may_be_exchanged():
  first, second = draw(3, 16, 32), draw(3, 10, 32, seed=1)
  second[:, :6] = first[:, 3:9] + 0.3 * second[:, :6]
  np.testing.assert_array_equal(count(first, first), 16)
  forth, back = count(first, second), count(second, first)
  np.testing.assert_array_equal(forth, back)
  assert 6 <= forth.min() and forth.max() < 10


def test_score_leaves_out_the_slot_of_the_reference():
  apply, params = features.load()
  views = jax.random.uniform(jax.random.key(0), (2, 5, 32, 32, 3))
  slots = jnp.array([1, 3])
  references = views[jnp.arange(2), slots]
  ours = jax.jit(lambda *x: matching.score(apply, params, *x))(references, views, slots)
  patches = np.asarray(jax.jit(lambda x: apply(params, x).patches)(
      views.reshape(-1, 32, 32, 3))).reshape(2, 5, 64, -1)
  for n, slot in enumerate(np.asarray(slots)):
    each = [int(count(patches[n, slot], patches[n, v])) for v in range(5)]
    assert each[slot] > max(x for v, x in enumerate(each) if v != slot)
    assert ours[n] == sum(each) - each[slot]


def test_loftr_score_is_the_sum_over_the_other_views_of_large_pictures():
  """A match of the stand-in for LoFTR is a cell of 8 x 8 pixels whose mean is nearly equal."""
  def apply(params, first, second):
    assert first.shape == second.shape == (2, matching.SIDE, matching.SIDE, 3)
    cells = lambda x: x.reshape(2, 32, 8, 32, 8, 3).mean((2, 4, 5)).reshape(2, -1)
    near = jnp.abs(cells(first) - cells(second)) < params
    return loftr.Matches(None, None, None, near)
  views = jax.random.uniform(jax.random.key(0), (2, 5, 32, 32, 3))
  slots = jnp.array([4, 0])
  references = views[jnp.arange(2), slots]
  ours = jax.jit(lambda *x: matching.loftr_score(apply, 0.05, *x))(references, views, slots)
  pixels = np.asarray(views).mean(-1)  # a pixel becomes a cell, blurred alike in both pictures
  assert ours.shape == (2,) and (np.asarray(ours) > 0).all()
  large = np.asarray(jax.image.resize(pixels, (2, 5, 256, 256), 'linear'))
  cells = large.reshape(2, 5, 32, 8, 32, 8).mean((3, 5))
  for n, slot in enumerate(np.asarray(slots)):
    each = [(np.abs(cells[n, slot] - cells[n, v]) < 0.05).sum() for v in range(5) if v != slot]
    assert ours[n] == sum(each)
