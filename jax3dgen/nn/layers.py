"""Layers shared by the networks: time embeddings, attention, norms, pixel shuffles; their settings.

Axes: B samples, N query positions, M context positions, C channels, H and W rows and columns.
Everything broadcasts explicitly.
"""

from flax import linen as nn
import jax
import jax.numpy as jnp

from jax3dgen.core.errors import WeightError

MASKED = -1e9  # finite, so that a row whose whole context is masked stays finite
# Entries of published configs about the training: diffusers' EMAModel writes its state beside the
# settings of the network.
OF_TRAINING = {'decay', 'inv_gamma', 'min_decay', 'optimization_step', 'power', 'update_after_step',
               'use_ema_warmup'}


def check_settings(name, config, only, free):
  """WeightError where the published config of the network `name` asks for another computation.

  Of the settings in `config` those in `only` must have the value there; those in `free`, those
  OF_TRAINING and those that begin with '_' may have any; all others must be off (None or False),
  since a setting that is not known here may change the network.
  """
  for key, value in config.items():
    if key.startswith('_') or key in free or key in OF_TRAINING:
      continue
    if not (value == only[key] if key in only else value is None or value is False):
      unknown = '' if key in only else ('; if it does not describe the network, remove it from the '
                                        'config.json')
      raise WeightError(f'The config of the {name} has {key}={value!r}, which is not supported'
                        f'{unknown}.')


def sinusoids(x, width, max_period=10_000.0):
  """Cosines, then sines, of x [B] at width / 2 frequencies (Ho et al. 2020): [B, width]."""
  half = width // 2
  frequency = jnp.exp(-jnp.log(max_period) * jnp.arange(half, dtype=jnp.float32) / half)
  angle = x[:, None] * frequency[None, :]
  return jnp.concatenate([jnp.cos(angle), jnp.sin(angle)], -1)


def time_embedding(t, width):
  """`sinusoids` of noise levels t [B] in [0, 1], scaled by 1000: those of a 1000-step network."""
  return sinusoids(1000.0 * t, width)


def space_to_depth(x, factor):
  """[B, H, W, C] -> [B, H / factor, W / factor, factor^2 C], the pixels of a block in row order."""
  b, h, w, c = x.shape
  x = x.reshape(b, h // factor, factor, w // factor, factor, c)
  return x.transpose(0, 1, 3, 2, 4, 5).reshape(b, h // factor, w // factor, factor**2 * c)


def depth_to_space(x, factor):
  """The inverse of `space_to_depth`."""
  b, h, w, c = x.shape
  x = x.reshape(b, h, w, factor, factor, c // factor**2)
  return x.transpose(0, 1, 3, 2, 4, 5).reshape(b, h * factor, w * factor, c // factor**2)


def convolution_as_product(x, kernel, stride=1):
  """x [B, H, W, C] with a kernel [k, k, C, D], one pixel of zeros around: [B, H', W', D], by one
  matrix product over the k^2 shifted copies of x."""
  size = len(kernel)
  rows, columns = ((n + 2 - size) // stride + 1 for n in x.shape[1:3])
  padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
  reach = lambda first, count: slice(first, first + stride * (count - 1) + 1, stride)
  patches = jnp.concatenate([padded[:, reach(i, rows), reach(j, columns)]
                             for i in range(size) for j in range(size)], -1)
  return patches @ kernel.reshape(-1, kernel.shape[-1])


class SampleNorm(nn.Module):
  """Divides each sample [B, ..., C] by its root mean square over all positions and channels.

  One learned scale per channel. On CPU several times cheaper than a group norm, and it keeps the
  relative brightness of channels, which a per-position norm would lose.
  """
  epsilon: float = 1e-6

  @nn.compact
  def __call__(self, x):
    scale = self.param('scale', nn.initializers.ones, (x.shape[-1],))
    axes = tuple(range(1, x.ndim))
    power = jnp.mean(jnp.square(x), axes, keepdims=True)
    return x * jax.lax.rsqrt(power + self.epsilon) * scale.reshape((1,) * (x.ndim - 1) + (-1,))


class Attention(nn.Module):
  """Multi-head attention of x [B, N, C] to context [B, M, D] (or to itself); returns [B, N, C].

  mask [B, M] is True where the context may be attended to. Only the output projection has a bias,
  so a zero context row has a zero value.
  """
  heads: int

  @nn.compact
  def __call__(self, x, context=None, mask=None):
    context = x if context is None else context
    width = x.shape[-1]
    split = lambda y: y.reshape(y.shape[:2] + (self.heads, width // self.heads))
    project = lambda y, name: split(nn.Dense(width, use_bias=False, name=name)(y))
    q, k, v = project(x, 'query'), project(context, 'key'), project(context, 'value')
    logits = jnp.einsum('bnhd,bmhd->bhnm', q, k) * (width // self.heads) ** -0.5
    if mask is not None:
      logits = jnp.where(mask[:, None, None, :], logits, MASKED)
    output = jnp.einsum('bhnm,bmhd->bnhd', jax.nn.softmax(logits, -1), v)
    return nn.Dense(width, name='out')(output.reshape(x.shape))


class Mlp(nn.Module):
  """Two dense layers with a GELU between: [..., C] -> [..., C]."""
  expansion: int

  @nn.compact
  def __call__(self, x):
    hidden = nn.gelu(nn.Dense(self.expansion * x.shape[-1], name='in')(x))
    return nn.Dense(x.shape[-1], name='out')(hidden)
