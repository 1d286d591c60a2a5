"""Hash-grid encoding, forward and backward, against PyTorch on the same CPU cores.

  python -m benchmarks.hashgrid

16 levels x 2 features, 32,768 points. Both libraries run in one process, pinned to the same cores
and under the same malloc settings, and take turns; each figure is the time that a quarter of the
turns stays below, which other loads on the machine disturb least. On one core it is processor time,
on two cores wall time.
"""

import argparse
import json
import os

from benchmarks import timing

POINTS, LEVELS, FEATURES, BASE, FINEST = 32_768, 16, 2, 16, 256
TABLES = (16, 19)  # log2 of the rows of a hashed level
GOALS = {16: 3.0, 19: 2.0}  # times the throughput of PyTorch, one core


def measure(table_log2, cores, turns):
  """Milliseconds of both libraries on the cores that this process is pinned to."""
  import jax
  import jax.numpy as jnp
  import numpy as np
  import torch

  from benchmarks import hashgrid_torch
  from jax3dgen.nn import hashgrid

  torch.set_num_threads(cores)
  grid = hashgrid.hash_grid(LEVELS, FEATURES, table_log2, BASE, FINEST)
  rng = np.random.default_rng(0)
  table = rng.uniform(-1, 1, (grid.rows, FEATURES)).astype(np.float32)
  xyz = rng.uniform(-1, 1, (3, POINTS)).astype(np.float32)
  cotangent = rng.normal(size=(grid.width, POINTS)).astype(np.float32)

  def forward_backward(table, xyz, cotangent):
    out, pull = jax.vjp(lambda t: hashgrid.encode(t, xyz, grid), table)
    return out, pull(cotangent)[0]

  compiled = jax.jit(forward_backward)
  ours = tuple(jnp.asarray(a) for a in (table, xyz, cotangent))
  tables = [torch.from_numpy(table[v.offset:v.offset + v.rows].copy()) for v in grid.levels]
  theirs = (tables, torch.from_numpy(xyz.T.copy()), grid.levels,
            torch.from_numpy(cotangent.T.copy()))
  out, gradient = compiled(*ours)
  peer_out, peer_gradients = hashgrid_torch.forward_backward(*theirs)
  np.testing.assert_allclose(out, peer_out.T, atol=1e-4)  # equal results
  np.testing.assert_allclose(gradient, torch.cat(peer_gradients), atol=2e-3)
  return timing.interleaved(
      {'jax3dgen': lambda: jax.block_until_ready(compiled(*ours)),
       'torch': lambda: hashgrid_torch.forward_backward(*theirs)}, turns)


def run(turns=15, numbers_of_cores=(1, 2)):
  """Rows of figures: dicts of table_log2, cores, milliseconds and the ratio torch / jax3dgen."""
  rows = []
  for cores in numbers_of_cores:
    figures = timing.pinned('benchmarks.hashgrid', cores, '--child', cores, '--turns', turns)
    clock = 0 if cores == 1 else 1  # processor time on one core, wall time on two
    for table_log2, times in figures.items():
      ours, theirs = times['jax3dgen'][clock], times['torch'][clock]
      rows.append({'table_log2': int(table_log2), 'cores': cores, 'jax3dgen_ms': ours,
                   'torch_ms': theirs, 'ratio': theirs / ours,
                   'goal': GOALS[int(table_log2)] if cores == 1 else None})
  return rows


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--turns', type=int, default=15, help='measurements of each library')
  parser.add_argument('--cores', type=int, nargs='+', default=[1, 2], help='numbers of cores')
  parser.add_argument('--child', type=int, default=0, help=argparse.SUPPRESS)
  args = parser.parse_args()
  if args.child:
    print(json.dumps({t: measure(t, args.child, args.turns) for t in TABLES}))
    return
  print(f'load average {os.getloadavg()[0]:.1f}; {LEVELS} levels x {FEATURES}, {POINTS} points')
  for row in run(args.turns, args.cores):
    goal = f" (goal {row['goal']:.0f}x)" if row['goal'] else ''
    print(f"table 2^{row['table_log2']}, {row['cores']} core(s): jax3dgen "
          f"{row['jax3dgen_ms']:.1f} ms, torch {row['torch_ms']:.1f} ms, "
          f"{row['ratio']:.2f}x{goal}")


if __name__ == '__main__':
  main()
