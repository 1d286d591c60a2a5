"""Moments shared by two processes; `python -m tests.metrics.together` in each of them."""

import jax
import numpy as np

from jax3dgen.core import parallel
from jax3dgen.metrics import frechet


def main():
  parallel.initialize()
  rows = np.random.default_rng(0).normal(size=(31, 4)) + 1e4
  mine = frechet.moments(rows[:10] if jax.process_index() else rows[10:])
  found, want = frechet.across_processes(mine), frechet.moments(rows)
  assert found.count == 31
  np.testing.assert_allclose(found.mean, want.mean, rtol=1e-14)  # float32 would not do
  np.testing.assert_allclose(found.scatter, want.scatter, rtol=1e-8)
  print('agreed')


if __name__ == '__main__':
  main()
