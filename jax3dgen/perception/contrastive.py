"""Contrastive losses of features: InfoNCE of unit vectors, and features at places of a picture.

Axes: B pictures or anchors, S places of a picture, h and w rows and columns of patches, C channels.
Places run from -1 (the left or upper edge) to 1, as in `perception/augment`.
"""

import jax
import jax.numpy as jnp
import optax

from jax3dgen.perception import augment

INK = 0.06  # a patch has content where its mean distance from white exceeds this


def unit(x):
  """x [..., C] divided by its length."""
  return x * jax.lax.rsqrt(jnp.maximum(jnp.sum(x**2, -1, keepdims=True), 1e-12))


def info_nce(anchors, others, first, temperature, weight=None):
  """(InfoNCE [] of unit vectors, share [] of the anchors whose most similar other is the positive).

  van den Oord et al. 2018, Eq. 4. anchors [B, C]; others [D, C], of which number first + b is the
  positive of anchor b and all others are negatives. weight [B]: how much each anchor counts.
  """
  logits = anchors @ others.T / temperature
  positive = first + jnp.arange(len(anchors))
  weight = jnp.ones(len(anchors)) if weight is None else weight
  mean = lambda x: jnp.sum(weight * x) / jnp.maximum(weight.sum(), 1.0)
  loss = optax.softmax_cross_entropy_with_integer_labels(logits, positive)
  return mean(loss), mean(logits.argmax(-1) == positive)


def sample_patches(key, images, count, per_side):
  """Places (x, y) [B, S] of images [B, H, H, 3]: the centres of S = `count` of per_side^2 patches.

  Patches with content come first, because those of the white background are all alike.
  """
  side = images.shape[1] // per_side
  ink = (1.0 - images).mean(-1).reshape(-1, per_side, side, per_side, side).mean((2, 4))
  order = jax.random.uniform(key, (len(images), per_side**2)) + (ink.reshape(len(ink), -1) > INK)
  index = jax.lax.top_k(order, count)[1]
  centre = jnp.asarray(augment.places(per_side))
  return centre[index % per_side], centre[index // per_side]


def interpolate(patches, x, y):
  """patches [B, h, w, C] at places x, y [B, S], linearly interpolated: [B, S, C]."""
  edge = 1.0 - 1.0 / patches.shape[1]  # places beyond the outermost centres take their values
  down, across = (augment.hats(jnp.clip(v, -edge, edge), patches.shape[1]) for v in (y, x))
  return jnp.einsum('bsi,bsj,bijc->bsc', down, across, patches)
