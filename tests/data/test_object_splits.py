"""Splits of seeds, and which objects stand."""

import numpy as np
import pytest

from jax3dgen.core.errors import ConfigError
from jax3dgen.data import object_splits, objects

POINTS = objects.grid(24)


def box(center, half):
  """Logits of a box."""
  return 24 * -np.max(np.abs(POINTS - np.array(center)) - np.array(half), -1)


def test_splits_share_no_seed_and_begin_with_the_first_kind():
  chunks = [object_splits.seeds(split, 1000) for split in object_splits.SPLITS]
  assert len(set().union(*chunks)) == 4000
  assert all(chunk[0] % len(objects.KINDS) == 0 for chunk in chunks)
  assert object_splits.seeds('test', 5, 3) == object_splits.seeds('test', 8)[3:]


def test_what_no_split_has_is_refused():
  with pytest.raises(ConfigError, match='train, pool'):
    object_splits.seeds('held_out', 1)
  with pytest.raises(ConfigError, match='outside'):
    object_splits.seeds('train', 1, object_splits.SPAN)


def test_a_box_stands_a_mushroom_with_its_cap_aside_falls_and_nothing_does_not_stand():
  stem = box((0, 0, -0.2), (0.08, 0.08, 0.2))
  leaning = np.maximum(stem, box((0.2, 0, 0.15), (0.25, 0.2, 0.15)))
  upright = np.maximum(stem, box((0.0, 0, 0.15), (0.2, 0.2, 0.15)))
  logits = np.stack([box((0, 0, 0), (0.2, 0.2, 0.3)), leaning, upright, np.full(stem.shape, -1.0)])
  assert object_splits.stands(logits).tolist() == [True, False, True, False]


def test_standing_takes_the_first_that_stand():
  seeds = object_splits.standing('validation', 4)
  first = object_splits.seeds('validation', 10)
  expected = [seed for seed, ok in zip(first, object_splits.stands(
      objects.logits(objects.draw(first))), strict=True) if ok]
  assert seeds == expected[:4]
  assert object_splits.standing('validation', 2, expected[1] - first[0]) == expected[1:3]
