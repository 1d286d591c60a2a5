"""Figures of a classifier from how often it confuses its classes."""

import numpy as np


def matrix(true, said, count):
  """[count, count] int64: rows are the true classes, columns what was said, of labels [N]."""
  return np.bincount(count * np.asarray(true) + np.asarray(said), minlength=count**2).reshape(
      count, count)


def scores(table):
  """{'count', 'accuracy', 'precision', 'recall', 'f1'} of a confusion matrix [K, K].

  The last three are means over the classes (macro); a class that was never said has precision 0,
  one that never occurred is left out.
  """
  table = np.asarray(table, np.float64)
  occurs = table.sum(1) > 0
  right, true, said = np.diag(table)[occurs], table.sum(1)[occurs], table.sum(0)[occurs]
  precision, recall = right / np.maximum(said, 1), right / true
  f1 = 2 * right / (true + said)
  return {'count': int(table.sum()), 'accuracy': float(right.sum() / table.sum()),
          'precision': float(precision.mean()), 'recall': float(recall.mean()),
          'f1': float(f1.mean())}
