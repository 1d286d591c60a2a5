"""Confusion matrices and the scores of a classifier."""

import numpy as np


def matrix(true, predicted, count):
  """[count, count] int64: rows are true classes, columns predicted ones, of labels [N]."""
  return np.bincount(count * np.asarray(true) + np.asarray(predicted), minlength=count**2).reshape(
      count, count)


def scores(table):
  """{'count', 'accuracy', 'precision', 'recall', 'f1'} of a confusion matrix [K, K].

  The last three are means over the classes (macro); a class that is never predicted has precision
  0, one that never occurs is left out.
  """
  table = np.asarray(table, np.float64)
  occurs = table.sum(1) > 0
  right, true, predicted = np.diag(table)[occurs], table.sum(1)[occurs], table.sum(0)[occurs]
  precision, recall = right / np.maximum(predicted, 1), right / true
  f1 = 2 * right / (true + predicted)
  return {'count': int(table.sum()), 'accuracy': float(right.sum() / table.sum()),
          'precision': float(precision.mean()), 'recall': float(recall.mean()),
          'f1': float(f1.mean())}
