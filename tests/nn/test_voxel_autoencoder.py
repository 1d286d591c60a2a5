"""The autoencoder of occupancy against PyTorch in double precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax3dgen.core import tree
from jax3dgen.formats import convert, rules_trellis
from jax3dgen.nn import voxel_autoencoder
from tests import trellis_reference as reference

apply = jax.jit(lambda net, *args: net.apply(*args), static_argnums=0)
DECODER = reference.DECODER | {'num_res_blocks': 2, 'num_res_blocks_middle': 1}
ENCODER = reference.ENCODER | {'num_res_blocks': 1, 'num_res_blocks_middle': 2}


def net_of(kind, args, **fields):
  return kind(channels=tuple(args['channels']), depth=args['num_res_blocks'],
              middle=args['num_res_blocks_middle'], **fields)


def converted(net, torch_net, x):
  target = jax.eval_shape(net.init, jax.random.key(0), x)['params']
  return {'params': convert.to_tree(reference.tensors(torch_net), rules_trellis.RULES, target)}


def latents():
  return np.random.default_rng(0).normal(size=(2, 4, 4, 4, 8)).astype(np.float32)


@pytest.fixture(scope='module')
def decoder():
  """(net, parameters, latents, PyTorch's logits)."""
  torch_net = reference.random_net('decoder', DECODER)
  net, x0 = net_of(voxel_autoencoder.Decoder, DECODER), latents()
  logits = reference.from_torch(torch_net(reference.to_torch(x0)))[..., 0]
  return net, converted(net, torch_net, x0), x0, logits


def test_decoder_equals_pytorch(decoder):
  net, params, x0, expected = decoder
  logits = apply(net, params, x0)
  assert logits.shape == (2, 16, 16, 16)
  np.testing.assert_allclose(logits, expected, atol=5e-5)


def test_half_precision_is_near(decoder):
  net, params, x0, expected = decoder
  half = net_of(voxel_autoencoder.Decoder, DECODER, dtype=jnp.bfloat16, param_dtype=jnp.bfloat16)
  logits = apply(half, params, x0)
  assert logits.dtype == jnp.float32
  assert 1e-4 < np.abs(logits - expected).max() / np.abs(expected).max() < 0.05


def test_gradient_through_decoder(decoder):
  net, params, x0, _ = decoder
  loss = lambda net, x0: jnp.mean(jnp.square(net.apply(params, x0)))
  slope = jax.jit(jax.grad(loss, 1), static_argnums=0)
  g = slope(net, x0)
  recomputed = slope(net_of(voxel_autoencoder.Decoder, DECODER, remat=True), x0)
  np.testing.assert_allclose(recomputed, g, atol=1e-6)
  torch_net = reference.random_net('decoder', DECODER)
  x = reference.to_torch(x0).requires_grad_(True)
  torch_net(x).square().mean().backward()
  np.testing.assert_allclose(g, reference.from_torch(x.grad), atol=1e-6)


def test_encoder_equals_pytorch():
  torch_net = reference.random_net('encoder', ENCODER)
  net = net_of(voxel_autoencoder.Encoder, ENCODER)
  occupancy = np.float32(np.random.default_rng(0).random((2, 16, 16, 16)) < 0.3)
  mean = apply(net, converted(net, torch_net, occupancy), occupancy)[..., :8]
  expected = reference.from_torch(torch_net(reference.to_torch(occupancy[..., None])))
  np.testing.assert_allclose(mean, expected, atol=5e-5)


@pytest.mark.parametrize('kind, shape, count, output', [
    (voxel_autoencoder.Decoder, (16, 16, 16, 8), 73_671_201, (64, 64, 64)),
    (voxel_autoencoder.Encoder, (64, 64, 64), 59_298_192, (16, 16, 16, 16))])
def test_full_size(kind, shape, count, output):
  (x, variables) = jax.eval_shape(kind().init_with_output, jax.random.key(0),
                                  jnp.zeros((1, *shape)))
  assert tree.count(variables) == count and x.shape == (1, *output)


def test_new_residual_is_the_identity():
  x = jnp.asarray(latents())
  variables = voxel_autoencoder.Residual().init(jax.random.key(0), x)
  np.testing.assert_array_equal(voxel_autoencoder.Residual().apply(variables, x), x)
