"""Judges by weights: LoFTR's, and weights that are missing."""

import jax.numpy as jnp
import numpy as np
import pytest

from jax3dgen.core.errors import WeightError
from jax3dgen.nn import loftr
from jax3dgen.perception import matching
from jax3dgen.recipes.multiview import score


def test_loftr_judges_as_many_objects_as_there_are(monkeypatch):
  """A stand-in that matches the cells up to the parameter; 4 views other than the reference's."""
  def apply(count, first, second):
    assert first.shape[1:] == (matching.SIDE, matching.SIDE, 3)
    return loftr.Matches(None, None, None, jnp.tile(jnp.arange(8)[None] < count, (len(first), 1)))
  monkeypatch.setattr(matching, 'load', lambda path: (apply, jnp.int32(len(path))))
  judge = score.judge('loftr', 'abc')
  assert judge.key.startswith('loftr ')
  views = np.zeros((3, 5, 32, 32, 3), np.float32)
  values = score.by_judge(judge, views[:, 0], views, np.zeros(3, np.int32), 2)
  np.testing.assert_array_equal(values, 4 * 3)


def test_missing_weights_are_one_sentence(tmp_path):
  with pytest.raises(WeightError, match='nowhere'):
    score.judge('loftr', str(tmp_path / 'nowhere'))
