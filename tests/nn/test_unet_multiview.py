"""Reference and joint attention: identities of appended keys, equivariance, what is computed."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax3dgen.core import tree
from jax3dgen.nn import unet_multiview, unet_small
from tests import nets
from tests.nn.test_layers import normal

SMALL = {'channels': (8, 16), 'embedding': 16, 'head_width': 8}
N, V, SIZE = 2, 3, 8
CLOSE = {'rtol': 1e-4, 'atol': 2e-5}


def net(joint=(1,), views=V):
  return unet_multiview.MultiviewUNet(**SMALL, views=views, joint=joint)


@functools.cache
def params(views=V):
  """Parameters without zeros."""
  inputs = normal(0, 1, SIZE, SIZE, 3), jnp.zeros(1), normal(1, 1, 5, 12), normal(2, 1, 12)
  return nets.random_parameters(net(views=views).init, jax.random.key(0), *inputs, scale=0.4)[
      'params']


def without_tables(views=V):
  """The same with zeros for the vectors of views and the tables of places."""
  tables = tree.mask(params(views), 'slot|_place')
  return jax.tree.map(lambda x, table: 0 * x if table else x, params(views), tables)


@functools.partial(jax.jit, static_argnums=0)
def write(net, params, x, t, tokens, pooled):
  return net.apply({'params': params}, x, t, tokens, pooled)


@functools.partial(jax.jit, static_argnums=0)
def read(net, params, x, t, tokens, pooled, memory, keep=None):
  return net.apply({'params': params}, x, t, tokens, pooled, memory, keep)


def rows(seed, count):
  return (normal(seed, count, SIZE, SIZE, 3), jnp.linspace(0.2, 0.8, count),
          normal(seed + 1, count, 5, 12), normal(seed + 2, count, 12))


@pytest.fixture(scope='module')
def memory():
  return write(net(), params(), *rows(10, N))


def empty(memory):
  return jax.tree.map(lambda x: x[:, :0], memory)


def test_parameters_are_those_of_the_plain_net_and_two_tables():
  plain = jax.eval_shape(unet_small.UNetSmall(**SMALL).init, jax.random.key(0), *rows(0, 1))
  shapes = lambda x: {name: leaf.shape for name, leaf in tree.named(x).items()}
  new, old = shapes(params()), shapes(plain['params'])
  assert old.items() <= new.items()
  assert {name: shape for name, shape in new.items() if name not in old} == {
      'slot': (V + 1, 16), 'encode_1_place': (V + 1, 4, 16), 'middle_place': (V + 1, 4, 16),
      'decode_1_place': (V + 1, 4, 16)}


def test_without_reference_tables_and_joint_attention_it_is_the_plain_net(memory):
  x = rows(0, N * V)
  plain = tree.partition(without_tables(), 'slot|_place')[1]
  expected = jax.jit(unet_small.UNetSmall(**SMALL).apply)({'params': plain}, *x)
  separate = read(net(joint=()), without_tables(), *x, empty(memory))
  np.testing.assert_allclose(separate, expected, **CLOSE)
  joint = read(net(), without_tables(), *x, empty(memory))
  assert np.abs(joint - expected).max() > 0.01


def test_a_null_reference_is_bypassed(memory):
  x = rows(0, N * V)
  bare, both = (read(net(), params(), *x, m) for m in (empty(memory), memory))
  mixed = read(net(), params(), *x, memory, jnp.array([False, True])).reshape(N, V, SIZE, SIZE, 3)
  for i, expected in enumerate((bare, both)):
    np.testing.assert_allclose(mixed[i], expected.reshape(mixed.shape)[i], **CLOSE)
  assert np.abs(bare - both).max() > 0.01


def test_equal_keys_do_not_change_attention():
  """The memory of the very same rows doubles every key."""
  one, tables = net(views=1), without_tables(views=1)
  x = rows(0, N)
  twice = read(one, tables, *x, write(one, tables, *x))
  np.testing.assert_allclose(
      twice, read(one, tables, *x, empty(write(one, tables, *x))), **CLOSE)


def test_the_order_of_reference_positions_does_not_matter(memory):
  x, order = rows(0, N * V), np.random.default_rng(0).permutation
  mixed = jax.tree.map(lambda m: m[:, order(m.shape[1])], memory)
  np.testing.assert_allclose(read(net(), params(), *x, mixed),
                             read(net(), params(), *x, memory), **CLOSE)


def test_views_are_equivariant_without_slots(memory):
  x, order = rows(0, N * V), np.array([2, 0, 1])
  turn = lambda x: x.reshape(N, V, *x.shape[1:])[:, order].reshape(x.shape)
  for tables, equal in ((without_tables(), True), (params(), False)):
    turned = read(net(), tables, *map(turn, x), memory)
    error = np.abs(turned - turn(read(net(), tables, *x, memory))).max()
    assert error < 1e-4 if equal else error > 0.01


def test_what_a_view_depends_on(memory):
  """Other views where attention is joint, its own reference; never another object's."""
  x, keep = rows(0, N * V), jnp.ones(N, bool)
  other = (x[0].at[V + 1].add(1.0), *x[1:])  # view 1 of object 1
  differs = lambda joint, a, memory_a, b, memory_b: (np.abs(
      read(net(joint), params(), *a, memory_a, keep)
      - read(net(joint), params(), *b, memory_b, keep)).max((1, 2, 3)) > 1e-4).tolist()
  change = lambda joint: differs(joint, other, memory, x, memory)
  assert change((1,)) == [False] * V + [True] * V
  assert change(()) == [i == V + 1 for i in range(N * V)]
  for joint in ((1,), ()):
    moved = jax.tree.map(lambda m: m.at[1].add(1.0), memory)
    assert differs(joint, x, moved, x, memory) == [False] * V + [True] * V


def test_nothing_after_the_last_attention_is_needed_for_the_memory():
  x = rows(10, N)
  late = r'^(decode_0|detail|norm_out|conv_out|up_1)|^decode_1_text/(self|cross|mlp|norm_[cm])'
  poison = jax.tree.map(lambda x, bad: x * np.nan if bad else x, params(),
                        tree.mask(params(), late))
  jax.tree.map(np.testing.assert_array_equal, write(net(), poison, *x),
               write(net(), params(), *x))
  # Nor is it computed; the plain net computes it.
  work = lambda compiled: compiled.cost_analysis()['flops']
  of_memory = work(write.lower(net(), params(), *x).compile())
  plain = unet_small.UNetSmall(**SMALL)
  whole = work(jax.jit(plain.apply).lower(
      {'params': tree.partition(params(), 'slot|_place')[1]}, *x).compile())
  assert of_memory < 0.75 * whole


def test_gradients_reach_the_parameters_of_the_first_pass_through_the_memory():
  x = rows(10, N)
  loss = lambda params: sum(jnp.square(m).sum() for m in jax.tree.leaves(
      net().apply({'params': params}, *x)))
  size = {name: float(np.abs(leaf).max())
          for name, leaf in tree.named(jax.jit(jax.grad(loss))(params())).items()}
  late = ('decode_0', 'detail', 'norm_out', 'conv_out', 'up_1', 'decode_1_text/self',
          'decode_1_text/cross', 'decode_1_text/mlp', 'decode_1_text/norm_cross',
          'decode_1_text/norm_mlp')
  assert all((size[name] == 0) == name.startswith(late) for name in size)
