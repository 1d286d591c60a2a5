"""Blocks of the U-Nets of the Stable Diffusion family (Rombach et al. 2022).

Residual blocks conditioned on the noise level, and transformers with self-attention and attention
to text. Modules are named as in the published files.

Axes: B images, V views of an object (B holds objects x V), H and W rows and columns, C channels,
N = H W positions, L tokens, M positions that are attended to, h heads.
"""

from typing import Any, NamedTuple

from flax import linen as nn
import jax
from jax.ad_checkpoint import checkpoint_name
import jax.numpy as jnp

from jax3dgen.nn import layers, view_attention

LOGITS = 2**28  # attention logits in memory at a time: 1 GiB
PATCHES = 2**10  # pixels up to which a convolution on a CPU is one matrix product


class Kind(NamedTuple):
  """Settings shared by all layers of a net, or of a level: `joint` says whether self-attention
  covers all views of an object."""
  groups: int
  views: int
  joint: bool
  remat: bool
  dtype: Any
  param_dtype: Any

  @property
  def types(self):
    return {'dtype': self.dtype, 'param_dtype': self.param_dtype}

  def maybe_remat(self, module):
    """The module class, recomputed in the backward pass where `remat` is set."""
    return nn.remat(module) if self.remat else module


def convolve(x, kernel, stride=1):
  """x [B, H, W, C] with a kernel [k, k, C, D], one pixel of zeros around: [B, H', W', D].

  On a CPU small images go through one matrix product over the k^2 shifted copies: the library's
  convolution is as fast forwards, but its gradient takes up to four times as long.
  """
  if jax.default_backend() != 'cpu' or x.shape[1] * x.shape[2] > PATCHES:
    return jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), ((1, 1), (1, 1)), dimension_numbers=('NHWC', 'HWIO', 'NHWC'))
  return layers.convolution_as_product(x, kernel, stride)


def double(x, kernel):
  """`convolve` of x [B, H, W, C], each pixel repeated to 2 x 2, with a kernel [3, 3, C, D]:
  [B, 2 H, 2 W, D].

  Three taps in a row cover two pixels of x only: the four phases of the result are convolutions of
  x with kernels [2, 2, C, D] of summed taps, at 4/9 of the products.
  """
  # [3, ...] -> [2, 2, ...]: weights of the previous and the next pixel, for even and odd rows.
  sums = lambda k: jnp.stack([jnp.stack([k[0], k[1] + k[2]]), jnp.stack([k[0] + k[1], k[2]])])
  kernel = sums(jnp.moveaxis(sums(kernel), 2, 0)).transpose(3, 1, 4, 2, 0, 5)
  batch, height, width, _ = x.shape
  phases = convolve(x, kernel.reshape(*kernel.shape[:3], -1))
  phases = phases.reshape(batch, height + 1, width + 1, 2, 2, -1)
  rows = [jnp.stack([phases[:, i:i + height, j:j + width, i, j] for j in (0, 1)], 3)
          for i in (0, 1)]
  return jnp.stack(rows, 2).reshape(batch, 2 * height, 2 * width, -1)


def attend(q, k, v, limit=None, mask=None):
  """Softmax attention of q [B, N, h, d] to k and v [B, M, h, d]: [B, N, h, d].

  mask [B, M] is True where k may be attended to, somewhere in each row; None: everywhere. Logits
  and softmax are float32. Where there are more than `limit` of them (None: LOGITS), queries
  are processed in chunks, whose logits the backward pass recomputes.
  """
  q, k, v = (x.transpose(0, 2, 1, 3) for x in (q * q.shape[-1]**-0.5, k, v))

  def rows(q):
    logits = jnp.einsum('bhnd,bhmd->bhnm', q, k, preferred_element_type=jnp.float32)
    if mask is not None:
      logits = jnp.where(mask[:, None, None], logits, layers.MASKED)
    power = jnp.exp(logits - jax.lax.stop_gradient(logits.max(-1, keepdims=True)))
    output = checkpoint_name(jnp.einsum('bhnm,bhmd->bhnd', power.astype(v.dtype), v,
                                        preferred_element_type=jnp.float32), 'output')
    return (output / power.sum(-1, keepdims=True)).astype(v.dtype)

  batch, heads, count, width = q.shape
  least = -(-batch * heads * count * k.shape[2] // (limit or LOGITS))
  chunks = next(n for n in range(least, count + 1) if count % n == 0) if least < count else count
  if chunks == 1:
    output = rows(q)
  else:
    split = jnp.moveaxis(q.reshape(batch, heads, chunks, -1, width), 2, 0)
    chunk = jax.checkpoint(rows, policy=jax.checkpoint_policies.save_only_these_names('output'))
    output = jnp.moveaxis(jax.lax.map(chunk, split), 0, 2).reshape(q.shape)
  return output.transpose(0, 2, 1, 3)


def shares(q, k):
  """The attention weights [B, N, M] of `attend`, mean over the heads."""
  logits = jnp.einsum('bnhd,bmhd->bhnm', q * q.shape[-1]**-0.5, k,
                      preferred_element_type=jnp.float32)
  return jax.nn.softmax(logits).mean(1)


class Conv(nn.Module):
  """A 3x3 convolution with padding 1: [B, H, W, C] -> [B, H / stride, W / stride, channels].

  A stride of 1/2 repeats pixels to twice the size first.
  """
  channels: int
  kind: Kind
  stride: float = 1

  @nn.compact
  def __call__(self, x):
    kernel = self.param('kernel', nn.initializers.lecun_normal(),
                        (3, 3, x.shape[-1], self.channels), self.kind.param_dtype)
    bias = self.param('bias', nn.initializers.zeros, (self.channels,), self.kind.param_dtype)
    x, kernel, bias = (y.astype(self.kind.dtype) for y in (x, kernel, bias))
    output = double(x, kernel) if self.stride == 0.5 else convolve(x, kernel, self.stride)
    return output + bias[None, None, None]


class Resize(nn.Module):
  """A convolution to half the size, or, `up`, after a repetition of pixels to twice the size."""
  up: bool
  kind: Kind

  @nn.compact
  def __call__(self, x):
    return Conv(x.shape[-1], self.kind, 0.5 if self.up else 2, name='conv')(x)


class Embedding(nn.Module):
  """Two dense layers with a SiLU between: [B, E] -> [B, width]."""
  width: int
  kind: Kind

  @nn.compact
  def __call__(self, x):
    x = nn.silu(nn.Dense(self.width, name='linear_1', **self.kind.types)(x))
    return nn.Dense(self.width, name='linear_2', **self.kind.types)(x)


class Resnet(nn.Module):
  """x [B, H, W, C], embedding [B, E] -> [B, H, W, channels]: two convolutions and a skip."""
  channels: int
  kind: Kind

  @nn.compact
  def __call__(self, x, embedding):
    norm = lambda name: nn.GroupNorm(self.kind.groups, epsilon=1e-5, use_fast_variance=False,
                                     name=name, **self.kind.types)
    dense = lambda name: nn.Dense(self.channels, name=name, **self.kind.types)
    h = Conv(self.channels, self.kind, name='conv1')(nn.silu(norm('norm1')(x)))
    h = h + dense('time_emb_proj')(embedding)[:, None, None]
    h = Conv(self.channels, self.kind, name='conv2')(nn.silu(norm('norm2')(h)))
    return h + (x if x.shape[-1] == self.channels else dense('conv_shortcut')(x))


class Attention(nn.Module):
  """Multi-head attention of x [B, N, C] to context [B, M, D]: [B, N, C]; `mask` as in `attend`.

  With `sows`, its `shares` are sown into the collection 'attention', where that is mutable.
  """
  heads: int
  kind: Kind
  sows: bool = False

  @nn.compact
  def __call__(self, x, context, mask=None):
    width = x.shape[-1]
    project = lambda y, name: nn.Dense(width, use_bias=False, name=name, **self.kind.types)(
        y).reshape(y.shape[:2] + (self.heads, width // self.heads))
    q, k, v = project(x, 'to_q'), project(context, 'to_k'), project(context, 'to_v')
    if self.sows and self.is_mutable_collection('attention') and not self.is_initializing():
      self.sow('attention', 'shares', shares(q, k))
    output = attend(q, k, v, mask=mask)
    return nn.Dense(width, name='to_out_0', **self.kind.types)(output.reshape(x.shape))


class GEGLU(nn.Module):
  """[..., C] -> [..., width]: one projection times the GELU of another (Shazeer 2020)."""
  width: int
  kind: Kind

  @nn.compact
  def __call__(self, x):
    x, gate = jnp.split(nn.Dense(2 * self.width, name='proj', **self.kind.types)(x), 2, -1)
    return x * nn.gelu(gate, approximate=False)


class FeedForward(nn.Module):
  """[..., C] -> [..., C] through four times the width."""
  kind: Kind

  @nn.compact
  def __call__(self, x):
    h = GEGLU(4 * x.shape[-1], self.kind, name='net_0')(x)
    return nn.Dense(x.shape[-1], name='net_2', **self.kind.types)(h)


class Block(nn.Module):
  """x [B, N, C] -> (x, state): self-attention, attention to tokens [B, L, D], and feed-forward.

  `state` is the input of the self-attention, [B / V, V N, C] where that is joint, else [B, N, C];
  `read` [B / V, M, C], the state of another pass, is attended to as well where `keep` [B / V].
  """
  heads: int
  kind: Kind

  @nn.compact
  def __call__(self, x, tokens, read, keep):
    norm = lambda name: nn.LayerNorm(1e-5, name=name, **self.kind.types)
    attention = lambda name: Attention(self.heads, self.kind, name == 'attn2', name=name)
    state, context, mask = view_attention.views_and_reference(
        norm('norm1')(x), self.kind.views, read, keep, self.kind.joint)
    x = x + attention('attn1')(state, context, mask).reshape(x.shape)
    x = x + attention('attn2')(norm('norm2')(x), tokens)
    return x + FeedForward(self.kind, name='ff')(norm('norm3')(x)), state


class Transformer(nn.Module):
  """x [B, H, W, C] -> (x, states of its blocks); `read` is None or such a tuple, `keep` as in
  `Block`."""
  depth: int
  heads: int
  kind: Kind

  @nn.compact
  def __call__(self, x, tokens, read, keep):
    dense = lambda name: nn.Dense(x.shape[-1], name=name, **self.kind.types)
    h = nn.GroupNorm(self.kind.groups, epsilon=1e-6, use_fast_variance=False, name='norm',
                     **self.kind.types)(x)
    h = dense('proj_in')(h.reshape(x.shape[0], -1, x.shape[-1]))
    states = []
    for i in range(self.depth):
      block = self.kind.maybe_remat(Block)(self.heads, self.kind, name=f'transformer_blocks_{i}')
      h, state = block(h, tokens, None if read is None else read[i], keep)
      states.append(state)
    return x + dense('proj_out')(h).reshape(x.shape), tuple(states)
