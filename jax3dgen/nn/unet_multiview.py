"""The embedded prior's denoiser over five views and a reference, with few parameters more.

Its self-attention is that of `view_attention`. Axes: N objects, V views, B = N V images in the
order of objects, P positions, C channels.
"""

from flax import linen as nn
import jax.numpy as jnp

from jax3dgen.nn import unet_small, view_attention


class MultiviewUNet(unet_small.UNetSmall):
  """`UNetSmall` whose rows are the V views of N objects, and its pass over N references.

  memory None: rows x [N, H, W, 3] are references; the result is their memory {layer: [N, P, C]}.
  Else rows x [B, H, W, 3] are views, which attend to the memory of their object where `keep` [N]
  is True (None: everywhere); the result is [B, H, W, 3].

  Attention covers all views of an object on the levels `joint`, each view alone on the others. New
  parameters, 0 at first: a vector for each view and the reference ('slot'), added to the embedding
  of the noise level, and a table of the positions of each layer ('place'), added to the input of
  its self-attention; the tables fix H and W.
  """
  views: int = 5
  joint: tuple = (1, 2)

  @nn.compact
  def __call__(self, x, t, tokens, pooled, memory=None, keep=None):
    writes, stored = memory is None, {}
    slot = self.param('slot', unet_small.ZERO, (self.views + 1, self.embedding))
    shift = slot[self.views:] if writes else jnp.tile(slot[:-1], (x.shape[0] // self.views, 1))

    def join(name, level):
      def of_states(states):
        place = self.param(f'{name}_place', unet_small.ZERO, (self.views + 1, *states.shape[1:]))
        if writes:
          stored[name] = states + place[-1:]
          return stored[name], None, None
        states = states.reshape(-1, *place[:-1].shape) + place[None, :-1]
        return view_attention.views_and_reference(
            states.reshape(-1, *states.shape[2:]), self.views, memory[name], keep,
            level in self.joint)
      return of_states

    output = self.denoise(x, t, tokens, pooled, shift, join)
    return stored if writes else output
