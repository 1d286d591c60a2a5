"""A small convolutional pose classifier of noisy 32 px images, conditioned on the noise level."""

from flax import linen as nn
import jax.numpy as jnp

from jax3dgen.nn import layers, unet_small

SIZE = 32  # pixels per side


class NoisyPose(nn.Module):
  """x_t [B, SIZE, SIZE, 3] at noise levels t [B] in [0, 1] -> logits [B, classes].

  One residual block of the embedded denoiser (FiLM by t) per resolution SIZE / 2, SIZE / 4, ...
  """
  channels: tuple = (24, 40, 56)
  embedding: int = 64
  classes: int = 4

  @nn.compact
  def __call__(self, x, t):
    wave = nn.silu(nn.Dense(self.embedding, name='time')(layers.time_embedding(t, self.embedding)))
    x = nn.Conv(self.channels[0], (3, 3), name='conv_in')(layers.space_to_depth(x, 2))
    for i, channels in enumerate(self.channels):
      if i:
        x = nn.Dense(channels, name=f'down_{i}')(layers.space_to_depth(x, 2))
      x = unet_small.ResBlock(channels, name=f'block_{i}')(x, wave)
    x = nn.silu(layers.SampleNorm(name='norm_out')(x)).reshape(x.shape[0], -1)
    return nn.Dense(self.classes, name='out')(x)


def init(key, net):
  """The initial parameters of `net`."""
  return net.init(key, jnp.zeros((2, SIZE, SIZE, 3)), jnp.zeros((2,)))['params']


def of(params):
  """The NoisyPose that fits `params`; its sizes are read from their shapes."""
  count = sum(name.startswith('block_') for name in params)
  channels = tuple(params[f'block_{i}']['conv_in']['bias'].shape[0] for i in range(count))
  return NoisyPose(channels, params['time']['bias'].shape[0], params['out']['bias'].shape[0])
