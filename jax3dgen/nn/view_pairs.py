"""A score of two views of an object: parts of each view by attention, and an MLP on their pair.

Axes: N views, h and w rows and columns of patches, C channels of them, P parts of W channels,
D = C + P W features of a view.
"""

from flax import linen as nn
import jax
import jax.numpy as jnp


class Parts(nn.Module):
  """token [N, C], patches [N, h, w, C], slot [N] int32 -> features [N, D].

  Each slot has `parts` learned queries, whose attention over the patches gives the parts. A part
  can thus be the same one, such as the left hand, wherever each slot shows it. The class token is
  beside them.
  """
  slots: int
  parts: int
  width: int

  @nn.compact
  def __call__(self, token, patches, slot):
    count, channels = token.shape
    flat = patches.reshape(count, -1, channels)
    table = self.param('query', nn.initializers.normal(1.0), (self.slots, self.parts, channels))
    keys = nn.Dense(channels, use_bias=False, name='key')(flat)
    logits = jnp.einsum('npc,nkc->npk', table[slot], keys) * channels**-0.5
    parts = jax.nn.softmax(logits, -1) @ nn.Dense(self.width, name='value')(flat)
    return jnp.concatenate([token, parts.reshape(count, -1)], -1)


class PairScore(nn.Module):
  """Features y [..., D] of the reference and x [..., D] of a view, slots [...] -> scores [...].

  A small MLP on [y, x, y x, |y - x|, both slots]; a new one scores 1/2.
  """
  slots: int
  hidden: int

  @nn.compact
  def __call__(self, y, x, slot_y, slot_x):
    places = [jax.nn.one_hot(slot, self.slots) for slot in (slot_y, slot_x)]
    pair = jnp.concatenate([y, x, y * x, jnp.abs(y - x), *places], -1)
    pair = nn.gelu(nn.Dense(self.hidden, name='hidden')(pair))
    return nn.Dense(1, kernel_init=nn.initializers.zeros, bias_init=nn.initializers.constant(0.5),
                    name='out')(pair)[..., 0]
