"""The judge of noisy pictures: sizes read back from parameters, and the noise level is heard."""

import jax
import jax.numpy as jnp

from jax3dgen.nn import noisy_pose


def test_sizes_are_read_from_the_parameters_and_the_noise_level_counts():
  net = noisy_pose.NoisyPose((8, 12), embedding=8, classes=3)
  params = jax.jit(lambda key: noisy_pose.init(key, net))(jax.random.key(0))
  assert noisy_pose.of(params) == net
  params['block_0']['film']['kernel'] += 0.1  # blocks start as the identity, deaf to t
  params['block_0']['conv_out']['kernel'] += 0.1
  x = jax.random.normal(jax.random.key(1), (1, noisy_pose.SIZE, noisy_pose.SIZE, 3))
  x = jnp.tile(x, (2, 1, 1, 1))
  a, b = jax.jit(net.apply)({'params': params}, x, jnp.array([0.1, 0.9]))
  assert a.shape == (3,) and float(jnp.abs(a - b).max()) > 1e-3
