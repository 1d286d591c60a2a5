"""Placement, mapping and joining of devices, against vmap and by counting compilations."""

import contextlib
import os
import subprocess
import sys

import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jax3dgen.core import errors, parallel, rng
from tests import processes

TX = optax.adam(1e-2)
COMPILED = '/jax/core/compile/backend_compile_duration'


def make_step():
  """A new function each time (JAX keeps what it compiled for an old one): one step of linear
  regression on rows drawn by device and step."""
  def step(state, truth, key):
    key = rng.on_device(jax.random.fold_in(key, state['step']), parallel.AXIS)
    x = jax.random.normal(key, (8, 3))
    loss, grad = jax.value_and_grad(lambda w: jnp.mean((x @ w - x @ truth) ** 2))(state['w'])
    grad, loss = jax.lax.pmean((grad, loss), parallel.AXIS)
    update, opt = TX.update(grad, state['opt'], state['w'])
    return {'w': optax.apply_updates(state['w'], update), 'opt': opt,
            'step': state['step'] + 1}, {'loss': loss}
  return step


def initial():
  w = jnp.zeros((3, 2), jnp.float32)
  return {'w': w, 'opt': TX.init(w), 'step': jnp.zeros((), jnp.int32)}


def fixed():
  return jnp.ones((3, 2), jnp.float32), jax.random.key(3)


@contextlib.contextmanager
def compilations():
  """A list that grows by one with every program that is compiled inside."""
  durations = []

  def note(event, seconds, **_):
    if event == COMPILED:
      durations.append(seconds)
  jax.monitoring.register_event_duration_secs_listener(note)
  try:
    yield durations
  finally:
    jax.monitoring.unregister_event_duration_listener(note)


def test_map_equals_vmap_after_ten_steps():
  mapped, placed = parallel.map(make_step(), 2), parallel.broadcast(fixed())
  reference = jax.jit(jax.vmap(make_step(), axis_name=parallel.AXIS, in_axes=(0, None, None)))
  n = jax.local_device_count()
  a = parallel.replicate(initial())
  b = jax.tree.map(lambda x: jnp.broadcast_to(x, (n,) + x.shape), initial())
  for _ in range(10):
    a, metrics = mapped(a, *placed)
    b, expected = reference(b, *fixed())
  for x, y in zip(jax.tree.leaves((a, metrics)), jax.tree.leaves((b, expected))):
    np.testing.assert_allclose(x, y, atol=1e-6, rtol=0)
    assert (np.asarray(x) == np.asarray(x)[:1]).all()  # replicas stay equal


def test_step_compiles_once_and_moves_nothing():
  mapped, placed = parallel.map(make_step(), 2), parallel.broadcast(fixed())
  state = parallel.replicate(initial())
  with compilations() as programs:
    state, metrics = mapped(state, *placed)
    assert len(programs) == 1
    with jax.transfer_guard('disallow'):  # neither weights nor state go to a device again
      for _ in range(3):
        state, metrics = mapped(state, *placed)
    assert len(programs) == 1
    host = parallel.unreplicate((state, metrics))
    assert len(programs) == 1
  assert host[0]['step'] == 4 and np.isfinite(host[1]['loss'])


def test_transfer_guard_detects_weights_on_one_device():
  """The control of the test above: what `broadcast` is for."""
  mapped, state = parallel.map(make_step(), 2), parallel.replicate(initial())
  elsewhere = jax.device_put(fixed(), jax.local_devices()[0])
  with pytest.raises(Exception, match='[Dd]isallowed'), jax.transfer_guard('disallow'):
    mapped(state, *elsewhere)


def test_another_shape_is_refused_by_name():
  mapped, placed = parallel.map(make_step(), 2), parallel.broadcast(fixed())
  state, _ = mapped(parallel.replicate(initial()), *placed)
  wider = parallel.broadcast(jnp.ones((3, 1), jnp.float32))
  with pytest.raises(ValueError, match=r'argument 1 was float32\[3, 2\] and is now float32.3, 1'):
    mapped(state, wider, placed[1])
  state['more'] = state['w']
  with pytest.raises(ValueError, match='leaves'):
    mapped(state, *placed)


def test_weak_types_and_foreign_placement_are_refused_by_name():
  grow = parallel.map(lambda s: ({'x': s['x'] + np.float32(1)}, {}), 0)
  place = parallel.replicate({'x': np.zeros(2, np.float32)})['x'].sharding
  weak = jax.device_put(jnp.full((jax.local_device_count(), 2), 0.25), place)
  assert weak.weak_type
  state, _ = grow({'x': weak})
  with pytest.raises(ValueError, match='argument 0/x was float32.* weakly typed and is now'):
    grow(state)

  move = parallel.map(lambda s: (s, {}), 0)
  state, _ = move(flax.jax_utils.replicate({'x': jnp.zeros(2)}))
  with pytest.raises(ValueError, match='0/x .* placed otherwise'):
    move(state)


def test_replicate_strips_weak_types():
  state = parallel.replicate({'a': jnp.full((2,), 0.25), 'b': np.float32(1)})
  assert not any(x.weak_type for x in jax.tree.leaves(state))


def test_unreplicate_copies_its_memory():
  tree = {'a': np.arange(3, dtype=np.float32), 'b': np.array(7, np.int32),
          'c': np.ones((2, 2), jnp.bfloat16), 'd': None}
  state = parallel.replicate(tree)
  back = parallel.unreplicate(state)
  assert back['d'] is None and back['b'].shape == () and back['c'].dtype == jnp.bfloat16
  for name in 'abc':
    np.testing.assert_array_equal(back[name], tree[name])
  shift = parallel.map(lambda s: (jax.tree.map(lambda x: x + 1, s), {}), 0)
  shift(state)  # donates the buffers
  np.testing.assert_array_equal(back['a'], tree['a'])


def test_parameters_in_parts_give_equal_numbers_and_take_less_room():
  n, wide = jax.device_count(), 64
  draw = lambda i, *shape: np.random.default_rng(i).normal(size=shape).astype(np.float32)
  params = {f'layer_{i}': {'kernel': draw(i, *(wide, 2 * wide)[::(-1)**i]) / 8, 'bias': draw(i, 3)}
            for i in range(4)}

  def make():
    def step(state, params, shift):
      def net(x):
        for i in range(4):
          x = jnp.tanh(x @ params[f'layer_{i}']['kernel']) + params[f'layer_{i}']['bias'].sum()
        return jnp.square(x - shift).mean()
      return {'x': state['x'] - jax.lax.pmean(jax.grad(net)(state['x']), parallel.AXIS)}, {}
    return step

  axes = parallel.split_axes(params)
  assert axes['layer_0'] == {'kernel': 1, 'bias': -1} and axes['layer_1']['kernel'] == 0
  ends, sizes = [], []
  for split in (None, axes):
    mapped = parallel.map(make(), 2, split)
    placed = parallel.scatter(params, split), parallel.broadcast(np.float32(0.5))
    state = parallel.replicate({'x': np.ones((2, wide), np.float32)})
    sizes.append(parallel.cost(mapped, state, *placed).fixed)
    with jax.transfer_guard('disallow'):
      for _ in range(3):
        state, _ = mapped(state, *placed)
    ends.append(state['x'])
  np.testing.assert_allclose(ends[0], ends[1], atol=1e-6, rtol=0)
  kernels = 4 * 4 * 2 * wide * wide
  assert sizes[0] - sizes[1] == kernels - kernels // n


def test_cost_is_known_before_the_first_call():
  mapped, placed = parallel.map(make_step(), 2), parallel.broadcast(fixed())
  state = parallel.replicate(initial())
  with compilations() as programs:
    cost = parallel.cost(mapped, state, *placed)
    mapped(state, *placed)
    assert len(programs) == 1
  assert cost.state == {'w': 24, 'opt': 4 + 2 * 24, 'step': 4}
  assert 24 < cost.fixed < 64 and 0 < cost.beside < 10**6  # the truth and a key
  forward = 2 * 8 * 3 * 2  # the truth's own product may be done once for all
  assert 2 * forward < cost.flop < 10 * forward + 10**4


SHOW = ('import jax; from jax3dgen.core import parallel; parallel.initialize();'
        'print(parallel.device_count())')


def devices_of(**env):
  clean = {k: v for k, v in os.environ.items() if k not in ('XLA_FLAGS', 'JAX_NUM_CPU_DEVICES')}
  out = subprocess.run([sys.executable, '-c', SHOW], cwd=processes.ROOT, text=True, check=True,
                       env=clean | {'JAX_PLATFORMS': 'cpu'} | env, capture_output=True)
  return int(out.stdout)


def test_two_devices_whatever_the_flags_say():
  assert devices_of() == 2
  assert devices_of(XLA_FLAGS='--xla_force_host_platform_device_count=8') == 2


def test_the_option_of_jax_is_respected():
  assert devices_of(JAX_NUM_CPU_DEVICES='3') == 3


@pytest.mark.parametrize('env', [{}, {'JAX_NUM_PROCESSES': '2', 'JAX_PROCESS_ID': 'x'},
                                 {'JAX_NUM_PROCESSES': '2', 'JAX_PROCESS_ID': '2'}])
def test_incomplete_launch_settings_are_refused(monkeypatch, env):
  for name in ('JAX_NUM_PROCESSES', 'JAX_PROCESS_ID'):
    monkeypatch.delenv(name, raising=False)
  monkeypatch.setenv('JAX_COORDINATOR_ADDRESS', '127.0.0.1:1')
  for name, value in env.items():
    monkeypatch.setenv(name, value)
  with pytest.raises(errors.ConfigError, match='JAX_PROCESS_ID'):
    parallel.initialize()


def test_one_process_alone():
  assert parallel.is_main() and parallel.from_main(lambda: {'a': 1}) == {'a': 1}
  assert parallel.tree_from_main('tree', None) == 'tree'


def test_two_processes_agree():
  for status, output in processes.finish(*processes.start_group('tests.fakes.process_agreement')):
    assert status == 0 and 'agreed' in output, output
