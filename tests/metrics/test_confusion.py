import numpy as np
import pytest

from jax3dgen.metrics import confusion


def test_matrix_counts_pairs():
  true, said = np.random.default_rng(0).integers(0, 3, (2, 50))
  table = confusion.matrix(true, said, 3)
  for i, j in np.ndindex(3, 3):
    assert table[i, j] == sum((t, s) == (i, j) for t, s in zip(true, said))


def test_scores_by_hand():
  found = confusion.scores([[3, 1, 0], [0, 2, 0], [0, 0, 0]])  # class 2 never occurs
  assert found['count'] == 6 and found['accuracy'] == pytest.approx(5 / 6)
  assert found['precision'] == pytest.approx((1 + 2 / 3) / 2)
  assert found['recall'] == pytest.approx((3 / 4 + 1) / 2)
  assert found['f1'] == pytest.approx((6 / 7 + 4 / 5) / 2)


def test_a_class_that_is_never_said_has_no_precision():
  found = confusion.scores([[0, 2], [0, 2]])
  assert found['precision'] == pytest.approx(0.25) and found['recall'] == 0.5
