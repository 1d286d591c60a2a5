"""Devices and processes; the only file that uses pmap.

One training step runs on every device of every process under the axis 'batch', whose index is
global. Arrays are placed on a mesh over the local devices with an axis of the same name: placed
otherwise, the second call would compile the step again, and weights would be copied to the devices
on every call.
"""

import contextlib
import json
import os
import sys
import time
from typing import NamedTuple

import jax
from jax.experimental import multihost_utils
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec
import numpy as np

from jax3dgen.core import errors, launch, on_demand
from jax3dgen.core import tree as trees

AXIS = 'batch'
SMALL = 2**12  # entries; a smaller leaf costs more to gather than to replicate


def initialize(coordinator=None, processes=None, process_id=None):
  """Sets the number of CPU devices and, in a run of several processes, joins them.

  Call it before anything touches a device. A process has launch.HOST_DEVICES CPU devices unless
  JAX's own option jax_num_cpu_devices names another number; XLA_FLAGS has no effect. Without
  arguments the launch is read from JAX_COORDINATOR_ADDRESS (host:port of process 0),
  JAX_NUM_PROCESSES and JAX_PROCESS_ID; JAX3DGEN_CLUSTER=auto lets JAX ask the cluster instead (TPU
  pods, Slurm, MPI).
  """
  env = os.environ
  if jax.config.jax_num_cpu_devices < 0:
    try:
      jax.config.update('jax_num_cpu_devices', launch.HOST_DEVICES)
    except RuntimeError:
      pass  # the backend runs already, with the devices that it was started with
  if 'XLA_FLAGS' in env:
    env['XLA_FLAGS'] = launch.without_host_count(env['XLA_FLAGS'])
  coordinator = coordinator or env.get('JAX_COORDINATOR_ADDRESS')
  automatic = env.get('JAX3DGEN_CLUSTER') == 'auto'
  if jax.distributed.is_initialized() or not (coordinator or automatic):
    return
  if not automatic:
    try:
      processes = int(processes if processes is not None else env['JAX_NUM_PROCESSES'])
      process_id = int(process_id if process_id is not None else env['JAX_PROCESS_ID'])
    except (KeyError, ValueError) as error:
      raise errors.ConfigError(
          'JAX_COORDINATOR_ADDRESS is set, so JAX_NUM_PROCESSES and JAX_PROCESS_ID must be whole '
          f'numbers too ({error}).') from error
    if not 0 <= process_id < processes:
      raise errors.ConfigError(f'JAX_PROCESS_ID={process_id} is not below '
                               f'JAX_NUM_PROCESSES={processes}.')
  jax.config.update('jax_cpu_collectives_implementation', 'gloo')
  try:
    jax.distributed.initialize(coordinator, processes, process_id)
  except ValueError as error:
    raise errors.ConfigError(f'The processes of this run cannot be joined: {error}') from error


def device_count():
  """Devices of all processes together."""
  return jax.device_count()


def share_batch(batch):
  """The number of devices of all processes, which must divide config.train.batch evenly."""
  count = device_count()
  if batch < 1 or batch % count:
    raise errors.ConfigError(f'config.train.batch={batch} cannot be shared evenly by {count} '
                             'devices: set a multiple of that, or hide devices '
                             '(CUDA_VISIBLE_DEVICES=0).')
  return count


def is_main():
  """Whether this is process 0, the only one that writes files."""
  return jax.process_index() == 0


def _placed(spec):
  return NamedSharding(Mesh(np.array(jax.local_devices()), (AXIS,)), spec)


def replicate(tree):
  """One copy of a host tree per local device, stacked along a new leading axis, for `map`."""
  n = jax.local_device_count()
  stack = lambda x: np.broadcast_to(np.asarray(x), (n,) + np.shape(x))
  return jax.device_put(jax.tree.map(stack, tree), _placed(PartitionSpec(AXIS)))


def broadcast(tree):
  """The same tree once on every local device, for the fixed arguments of `map`."""
  return jax.device_put(tree, _placed(PartitionSpec()))


def on_host():
  """A context that creates arrays in host memory, for those that are too large for one device."""
  try:
    return jax.default_device(jax.local_devices(backend='cpu')[0])
  except RuntimeError:  # JAX_PLATFORMS leaves the host out
    return contextlib.nullcontext()


def split_axes(tree):
  """The axis of each leaf along which `scatter` splits it over the devices; -1: it is replicated.

  The largest axis that the number of devices divides, of floating leaves of SMALL entries or more.
  """
  count = jax.device_count()

  def axis(leaf):
    candidates = [(size, -i) for i, size in enumerate(leaf.shape) if size % count == 0]
    splits = leaf.size >= SMALL and jnp.issubdtype(leaf.dtype, np.floating)
    return -max(candidates)[1] if candidates and splits else -1
  return jax.tree.map(axis, tree)


def scatter(tree, axes):
  """A tree for the first fixed argument of `map`: each device holds one shard of every leaf that
  `axes` (see `split_axes`) divides, over the devices of all processes. Without `axes`, `broadcast`.
  """
  if axes is None:
    return broadcast(tree)
  count, local = jax.device_count(), jax.local_device_count()
  first = jax.process_index() * local

  def place(leaf, axis):
    if axis < 0:
      return broadcast(leaf)
    parts = np.split(np.asarray(leaf), count, axis)[first:first + local]
    return jax.device_put(np.stack(parts), _placed(PartitionSpec(AXIS)))
  return jax.tree.map(place, tree, axes)


def _gather(axis):
  """(shard) -> whole leaf, within a mapped step; None for a leaf that is not split."""
  if axis < 0:
    return None
  return lambda shard: jax.lax.all_gather(shard, AXIS, axis=axis, tiled=True)


def unreplicate(tree):
  """Replica 0 of this process as numpy arrays of their own (devices may reuse their buffers)."""
  return jax.tree.map(lambda x: np.array(x.addressable_shards[0].data)[0, ...], tree)


def map(step, n_fixed, axes=None):
  """`step(state, *fixed)` over all devices: state replicated and donated, `n_fixed` broadcast.

  With `axes`, the first fixed argument is the result of `scatter` with them, gathered leaf by leaf
  within the step (see `on_demand`). Compiles once: a later call whose arguments would compile again
  raises ValueError with the argument's name.
  """
  in_axes, whole = [0] + [None] * n_fixed, step
  if axes is not None:
    in_axes[1] = jax.tree.map(lambda axis: None if axis < 0 else 0, axes)
    gather = jax.tree.map(_gather, axes)
    whole = lambda state, shards, *rest: on_demand.run(
        lambda params, state, *rest: step(state, params, *rest), shards, gather, state, *rest)
  mapped = jax.pmap(whole, axis_name=AXIS, in_axes=tuple(in_axes), donate_argnums=(0,))
  first = []

  def call(*arguments):
    now = [jax.typeof(x) for x in jax.tree.leaves(arguments)]
    if not first:
      first.extend(now)
    elif now != first:
      raise ValueError(f'The step would compile again: {_change(first, now, arguments)}.')
    return mapped(*arguments)
  call.lower = mapped.lower
  return call


def split(function, n_fixed):
  """`function(batch, *fixed)` with the rows of `batch` (leaves [N, ...]) split over the devices.

  Returns numpy leaves [N, ...]. N need not divide evenly: the last row is repeated as padding.
  Compiles once for every ceil(N / devices).
  """
  mapped = jax.pmap(function, in_axes=(0,) + (None,) * n_fixed)
  count = jax.local_device_count()

  def call(batch, *fixed):
    size = len(jax.tree.leaves(batch)[0])
    rows = -(-size // count)

    def cut(x):
      x = np.asarray(x)
      filler = np.repeat(x[-1:], rows * count - size, 0)
      return np.concatenate([x, filler]).reshape((count, rows) + x.shape[1:])

    out = mapped(jax.tree.map(cut, batch), *fixed)
    return jax.tree.map(lambda x: np.asarray(x).reshape((-1,) + x.shape[2:])[:size], out)
  return call


def _change(old, new, arguments):
  """The first argument whose type differs, in words; argument 0 is the state."""
  if len(old) != len(new):
    return f'its arguments had {len(old)} leaves and have {len(new)}'
  say = lambda t: f'{t.dtype}{list(t.shape)}' + (' weakly typed' if t.weak_type else '')
  i = next(i for i, (a, b) in enumerate(zip(old, new)) if a != b)
  was, now = say(old[i]), say(new[i])
  return (f'argument {list(trees.named(arguments))[i]} was {was} and is now {now}'
          + (', placed otherwise' if was == now else ''))


class Cost(NamedTuple):
  """What a call of a mapped step costs on each device.

  state {part of the state: bytes} and fixed [bytes] are its arguments, beside the further bytes of
  outputs and temporaries; flop, the floating-point operations, is 0 where the backend does not
  count them.
  """
  state: dict
  fixed: int
  beside: int
  flop: float


def cost(mapped, state, *fixed):
  """The Cost of `mapped(state, *fixed)`.

  Compiles the step, which the first call then does not do again.
  """
  compiled = mapped.lower(state, *fixed).compile()
  stats, parts = compiled.memory_analysis(), {}
  for name, leaf in trees.named(state).items():
    part = name.partition('/')[0]
    parts[part] = parts.get(part, 0) + leaf.nbytes // jax.local_device_count()
  try:
    flop = float(compiled.cost_analysis()['flops'])
  except (KeyError, TypeError, NotImplementedError, jax.errors.JaxRuntimeError):
    flop = 0.0
  return Cost(parts, stats.argument_size_in_bytes - sum(parts.values()),
              stats.output_size_in_bytes + stats.temp_size_in_bytes - stats.alias_size_in_bytes,
              max(flop, 0.0))


def _send(data):
  """The bytes `data` of process 0, in every process."""
  size = int(multihost_utils.broadcast_one_to_all(np.array(len(data), np.int32)))
  local = np.frombuffer(data, np.uint8) if is_main() else np.zeros(size, np.uint8)
  return np.asarray(multihost_utils.broadcast_one_to_all(local)).tobytes()


def least(number):
  """The minimum of `number` over the processes."""
  if jax.process_count() == 1:
    return number
  return type(number)(multihost_utils.process_allgather(np.float64(number)).min())


def gather(tree):
  """Host leaves [n, ...] of all processes, joined along the first axis in the processes' order, in
  every process and bit for bit; shapes and dtypes must be the same in all."""
  if jax.process_count() == 1:
    return tree

  def join(leaf):
    data = np.frombuffer(np.ascontiguousarray(leaf).tobytes(), np.uint8)
    every = np.asarray(multihost_utils.process_allgather(data))
    return np.frombuffer(every.tobytes(), leaf.dtype).reshape((-1,) + leaf.shape[1:])
  return jax.tree.map(join, tree)


def leave(status):
  """Exits this process with `status`, also after an error that other processes do not have.

  JAX's own shutdown of several processes waits for all of them, and they wait for the next step of
  this one. Process 0 exits 2 s later, because it hosts the coordination service of the others.
  """
  if not jax.distributed.is_initialized() or status == 0:
    sys.exit(status)
  time.sleep(2.0 if is_main() else 0.0)
  sys.stdout.flush()
  sys.stderr.flush()
  os._exit(status)


def from_main(function, *args):
  """The result (plain JSON) or the error of `function(*args)` in process 0, in every process."""
  if jax.process_count() == 1:
    return function(*args)
  answer = {}
  if is_main():
    try:
      answer = {'value': function(*args)}
    except Exception as error:
      kind = type(error).__name__ if isinstance(error, errors.Jax3dgenError) else 'Jax3dgenError'
      _send(json.dumps({'kind': kind, 'text': str(error)}).encode())
      raise
  answer = json.loads(_send(json.dumps(answer).encode()))
  if 'kind' in answer:
    raise getattr(errors, answer['kind'])(answer['text'])
  return answer['value']


def tree_from_main(tree, like):
  """The host tree of process 0 in every process, bit for bit; `like` gives shapes and dtypes."""
  if jax.process_count() == 1:
    return tree

  def send(leaf, shape):
    data = _send(np.asarray(leaf).tobytes() if is_main() else b'')
    return np.frombuffer(data, shape.dtype).reshape(shape.shape).copy()
  return jax.tree.map(send, tree if is_main() else like, like)
