import numpy as np
import pytest

from jax3dgen.metrics import confusion


def test_matrix_counts_pairs():
  true, predicted = np.random.default_rng(0).integers(0, 3, (2, 50))
  table = confusion.matrix(true, predicted, 3)
  for i, j in np.ndindex(3, 3):
    assert table[i, j] == sum((t, s) == (i, j) for t, s in zip(true, predicted))


def test_scores_by_hand():
  scores = confusion.scores([[3, 1, 0], [0, 2, 0], [0, 0, 0]])  # class 2 never occurs
  assert scores['count'] == 6 and scores['accuracy'] == pytest.approx(5 / 6)
  assert scores['precision'] == pytest.approx((1 + 2 / 3) / 2)
  assert scores['recall'] == pytest.approx((3 / 4 + 1) / 2)
  assert scores['f1'] == pytest.approx((6 / 7 + 4 / 5) / 2)


def test_a_class_that_is_never_predicted_has_precision_zero():
  scores = confusion.scores([[0, 2], [0, 2]])
  assert scores['precision'] == pytest.approx(0.25) and scores['recall'] == 0.5
