"""Pairs of the labels of a pool: membership, balance, replacement, what is left out."""

import jax
import numpy as np
import pytest

from jax3dgen.core.errors import ConfigError
from jax3dgen.feedback import pairs

# Images 0 to 3 with three samples each; image 1 has no stable and image 3 no unstable sample.
IMAGE = np.repeat(np.arange(4), 3)
STABLE = np.array([1, 0, 0, 0, 0, 0, 1, 1, 0, 1, 1, 1], bool)
DRAW = jax.jit(pairs.draw, static_argnums=2)


def counts(table, count=30_000):
  win, lose, cond = (np.asarray(x) for x in DRAW(jax.random.key(0), table, count))
  return win, lose, cond


def test_pairs_are_of_one_image():
  table, left_out = pairs.by_label(STABLE, IMAGE)
  assert left_out == {1: 'no stable sample', 3: 'no unstable sample'}
  win, lose, cond = counts(table)
  assert STABLE[win].all() and not STABLE[lose].any()
  assert (IMAGE[win] == cond).all() and (IMAGE[lose] == cond).all()


def test_groups_and_their_members_are_equally_frequent():
  table, _ = pairs.by_label(STABLE, IMAGE)
  win, lose, cond = counts(table)
  share = lambda x: np.bincount(x, minlength=12) / len(x)
  np.testing.assert_allclose(share(cond)[[0, 2]], [0.5, 0.5], atol=0.02)
  np.testing.assert_allclose(share(win)[[0, 6, 7]], [0.5, 0.25, 0.25], atol=0.02)
  np.testing.assert_allclose(share(lose)[[1, 2, 8]], [0.25, 0.25, 0.5], atol=0.02)


def test_pairs_of_one_object_cross_its_images():
  table, left_out = pairs.by_label(STABLE, IMAGE, group=IMAGE // 2)  # images 0, 1 and 2, 3
  assert left_out == {}
  win, lose, cond = counts(table)
  assert (IMAGE[win] // 2 == cond // 2).all() and (IMAGE[lose] // 2 == cond // 2).all()
  assert set(cond.tolist()) == {0, 1, 2, 3}
  np.testing.assert_allclose(np.mean(IMAGE[lose] != cond), 0.5, atol=0.02)


def test_a_draw_follows_from_its_key():
  table, _ = pairs.by_label(STABLE, IMAGE)
  first, again, other = (DRAW(jax.random.key(k), table, 64) for k in (5, 5, 6))
  assert all((a == b).all() for a, b in zip(first, again))
  assert not all((a == b).all() for a, b in zip(first, other))


def test_pairs_by_margin():
  margin = np.array([.1, .3, -.2, .01, .02, .0, .5, .4, .3, -.1, -.2, .2])
  table, left_out = pairs.by_margin(margin, IMAGE, gap=0.05)
  assert left_out == {1: 'margins that differ by less than 0.05'}
  win, lose, _ = counts(table)
  assert set(win.tolist()) == {1, 6, 11} and set(lose.tolist()) == {2, 8, 10}


def test_unusable_rows_are_in_no_pair():
  usable = np.ones(12, bool)
  usable[[0, 8]] = False  # the only stable sample of image 0, the only unstable one of image 2
  with pytest.raises(ConfigError, match='None of the 4 groups'):
    pairs.by_label(STABLE, IMAGE, usable=usable)
  usable[0] = True
  table, _ = pairs.by_label(STABLE, IMAGE, usable=usable)
  assert set(counts(table)[2].tolist()) == {0}


def test_one_kind_alone_is_refused():
  for stable, why in ((np.zeros(12, bool), r'\(4: no stable'), (np.ones(12, bool), r'\(0: no st')):
    with pytest.raises(ConfigError, match=why):
      pairs.by_label(stable, IMAGE)
