"""What two processes must agree on; `python -m tests.fakes.process_agreement` in each of them."""

import jax
import jax.numpy as jnp
import numpy as np

from jax3dgen.core import errors, parallel

BITS = {'float': np.array([-0.0, np.nan, 1.5], np.float32), 'half': np.ones((2, 2), jnp.bfloat16),
        'whole': np.array(-3, np.int32), 'none': np.zeros((0, 2), np.float32)}


def fail():
  raise errors.MeshError('bad mesh')


def main():
  parallel.initialize()
  rank = jax.process_index()
  assert (jax.process_count(), parallel.device_count(), jax.local_device_count()) == (2, 4, 2)
  assert parallel.is_main() == (rank == 0)

  assert parallel.from_main(lambda: [rank, 'text']) == [0, 'text']
  try:
    parallel.from_main(fail)
    raise AssertionError('no error')
  except errors.MeshError as error:
    assert str(error) == 'bad mesh'

  got = parallel.tree_from_main(BITS if rank == 0 else None, BITS)
  for name, leaf in BITS.items():
    assert got[name].dtype == leaf.dtype and got[name].shape == leaf.shape
    assert got[name].tobytes() == leaf.tobytes(), name

  rows = {'word': np.array([f'process {rank}', 'x'], 'U12'), 'number': np.full((2, 3), rank + 0.1)}
  joined = parallel.gather(rows)
  assert joined['word'].tolist() == ['process 0', 'x', 'process 1', 'x']
  assert joined['number'].tolist() == 2 * [[0.1] * 3] + 2 * [[1.1] * 3]

  place = parallel.map(lambda s: (s, jax.lax.axis_index(parallel.AXIS)), 0)
  _, index = place(parallel.replicate({'x': np.zeros(2, np.float32)}))
  local = [int(shard.data[0]) for shard in index.addressable_shards]
  assert local == [2 * rank, 2 * rank + 1], local
  print('agreed')


if __name__ == '__main__':
  main()
