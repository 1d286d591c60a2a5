"""The flow transformer against PyTorch in double precision, and its closed forms."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax3dgen.core import tree
from jax3dgen.formats import convert, rules_trellis
from jax3dgen.nn import dit, lora, unet_blocks
from tests import trellis_reference as reference

apply = jax.jit(lambda net, *args: net.apply(*args), static_argnums=0)


def inputs(side=4, batch=2, length=5, width=32):
  rng = np.random.default_rng(0)
  normal = lambda *shape: rng.normal(size=shape).astype(np.float32)
  t = np.float32([731.25, 40.0])[:batch]
  return normal(batch, side, side, side, 8), t, normal(batch, length, width)


def net_of(args, **fields):
  return dit.FlowTransformer(
      width=args['model_channels'], depth=args['num_blocks'], heads=args['num_heads'],
      patch=args['patch_size'], qk_norm=args['qk_rms_norm'],
      qk_norm_cross=args.get('qk_rms_norm_cross', False), **fields)


def converted(net, args):
  """The parameters of a PyTorch net."""
  tensors = reference.tensors(net)
  tensors.pop('pos_emb')
  target = jax.eval_shape(net_of(args).init, jax.random.key(0), *inputs())['params']
  return {'params': convert.to_tree(tensors, rules_trellis.RULES, target)}


def expected(net, *args):
  return reference.from_torch(net(*map(reference.to_torch, args)))


@pytest.fixture(scope='module')
def small():
  """(arguments, PyTorch's net, parameters) of the smallest net."""
  net = reference.random_net('flow', reference.FLOW)
  return reference.FLOW, net, converted(net, reference.FLOW)


@pytest.mark.parametrize('change', [
    {}, {'patch_size': 2, 'qk_rms_norm_cross': True}, {'qk_rms_norm': False}])
def test_equals_pytorch(change):
  args = reference.FLOW | change  # 40 channels: the last four have no position
  net = reference.random_net('flow', args)
  v = apply(net_of(args), converted(net, args), *inputs())
  np.testing.assert_allclose(v, expected(net, *inputs()), atol=5e-5)


def test_tolerance_tells_the_gelus_apart(small):
  args, net, params = small
  exact = reference.Flow(**args, gelu='none').double()
  exact.load_state_dict(net.state_dict())
  v = apply(net_of(args), params, *inputs())
  print(np.abs(v - expected(exact, *inputs())).max())
  assert np.abs(v - expected(exact, *inputs())).max() > 1.5e-4


def test_half_precision_is_near(small):
  args, net, params = small
  half = net_of(args, dtype=jnp.bfloat16, param_dtype=jnp.bfloat16)
  shapes = jax.eval_shape(half.init, jax.random.key(0), *inputs())
  cast = jax.tree.map(lambda x, like: x.astype(like.dtype), params, shapes)
  assert {str(x.dtype) for x in jax.tree.leaves(cast)} == {'float32', 'bfloat16'}
  v, target = apply(half, cast, *inputs()), expected(net, *inputs())
  assert v.dtype == jnp.float32
  assert 1e-4 < np.abs(v - target).max() / np.abs(target).max() < 0.03


def test_chunks_and_recomputation_change_nothing(small, monkeypatch):
  args, _, params = small
  x, t, tokens = inputs()
  slope = lambda net: jax.jit(jax.value_and_grad(
      lambda x: jnp.sum(jnp.square(net.apply(params, x, t, tokens)))))(x)
  plain = slope(net_of(args))
  monkeypatch.setattr(dit, 'LOGITS', 2 * 4 * 64 * 64 // 4)  # four chunks of queries
  chunks = []
  rows = jax.lax.map
  monkeypatch.setattr(jax.lax, 'map', lambda f, xs: chunks.append(len(xs)) or rows(f, xs))
  for output, target in zip(slope(net_of(args, remat=True)), plain, strict=True):
    np.testing.assert_allclose(output, target, rtol=1e-4, atol=1e-4)
  assert set(chunks) == {4}


def test_full_size():
  net = dit.FlowTransformer()
  shapes = jax.eval_shape(net.init, jax.random.key(0), jnp.zeros((1, 16, 16, 16, 8)), jnp.zeros(1),
                          jnp.zeros((1, 1374, 1024)))['params']
  assert tree.count(shapes) == 555_543_560
  assert len(jax.tree.leaves(shapes)) + 1 == 489  # with the table of positions
  pattern = '(self_attn|cross_attn)/(to_q|to_kv|to_out|to_qkv)/kernel$'
  kernels = {name: x.shape for name, x in tree.named(shapes).items() if re.search(pattern, name)}
  assert len(kernels) == 120
  assert sum(64 * sum(shape) for shape in kernels.values()) == 20_447_232
  adapters = jax.eval_shape(lambda p: lora.init(jax.random.key(0), p, 64, pattern), shapes)
  assert tree.count(adapters) == 20_447_232


def test_new_net_gives_zero():
  net = net_of(reference.FLOW)
  variables = net.init(jax.random.key(0), *inputs())
  assert not np.any(apply(net, variables, *inputs()))


def test_positions():
  table = dit.positions(16, 1024)
  assert table.shape == (4096, 1024) and table.dtype == np.float32
  np.testing.assert_array_equal(table[0], [*([0] * 170 + [1] * 170) * 3, 0, 0, 0, 0])
  np.testing.assert_allclose(table[1, [680, 681]], [.841471, .8118], atol=1e-4)
  assert np.flatnonzero(table[1])[-1] == 1019
  np.testing.assert_allclose(table[16 * 5, 340:342], np.sin([5, 5 * 10_000**(-1 / 170)]), rtol=1e-5)


def test_time_embedding():
  np.testing.assert_array_equal(dit.level_waves(jnp.zeros(1))[0], [1] * 128 + [0] * 128)
  t = np.append(1000 * np.random.default_rng(0).random(200), [32, 999.99, 1000]).astype(np.float32)
  angle = np.float64(t)[:, None] * 10_000 ** (-np.arange(128) / 128)
  waves = jax.jit(dit.level_waves)(t)
  np.testing.assert_allclose(waves, np.concatenate([np.cos(angle), np.sin(angle)], -1), atol=1e-6)
  slope = jax.grad(lambda t: dit.level_waves(t[None])[0, 128])(jnp.float32(730.5))  # sin t
  np.testing.assert_allclose(slope, np.cos(730.5), atol=1e-6)


def test_head_norm_has_length_eight():
  x = np.random.default_rng(0).normal(size=(2, 3, 5, 64)).astype(np.float32)
  gamma = {'params': {'gamma': jnp.ones((5, 64))}}
  np.testing.assert_allclose(np.linalg.norm(dit.HeadNorm().apply(gamma, x), axis=-1), 8, rtol=1e-6)
  slope = jax.grad(lambda x: dit.HeadNorm().apply(gamma, x).sum())(jnp.zeros((1, 1, 5, 64)))
  assert np.isfinite(slope).all()


def test_order_of_tokens_is_without_effect(small):
  args, _, params = small
  x, t, tokens = inputs()
  v = apply(net_of(args), params, x, t, tokens)
  np.testing.assert_allclose(apply(net_of(args), params, x, t, tokens[:, ::-1]), v, atol=1e-5)


def test_zero_tokens_give_a_constant():
  """to_out(b_v), with b_v the second half of the bias of to_kv, for every query."""
  x = np.random.default_rng(0).normal(size=(2, 7, 24)).astype(np.float32)
  net = dit.Attention(heads=3)
  shapes = jax.eval_shape(net.init, jax.random.key(0), x, jnp.zeros((2, 5, 8)))['params']
  rng = np.random.default_rng(1)
  params = jax.tree.map(lambda s: rng.normal(size=s.shape).astype(np.float32), shapes)
  constant = params['to_kv']['bias'][24:] @ params['to_out']['kernel'] + params['to_out']['bias']
  output = net.apply({'params': params}, x, jnp.zeros((2, 5, 8)))
  np.testing.assert_allclose(output, np.broadcast_to(constant, x.shape), atol=1e-4)


@pytest.mark.parametrize('size', [1, 2])
def test_patches(size):
  x = np.random.default_rng(0).normal(size=(2, 4, 4, 4, 3))
  patches = dit.patchify(x, size)
  n = 4 // size
  for a, b, d in np.ndindex(size, size, size):  # of the patch (0, 1, n - 1), channel 2
    channel = ((2 * size + a) * size + b) * size + d
    np.testing.assert_array_equal(patches[:, n + n - 1, channel],
                                  x[:, a, size + b, 4 - size + d, 2])
  np.testing.assert_array_equal(dit.unpatchify(patches, size), x)


def test_shared_attention_in_chunks():
  q, k, v = np.random.default_rng(0).normal(size=(3, 2, 12, 3, 4)).astype(np.float32)
  np.testing.assert_allclose(unet_blocks.attend(q, k, v, 100), unet_blocks.attend(q, k, v),
                             atol=1e-6)
