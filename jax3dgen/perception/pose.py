"""RecDreamer's pose classifier: which of K templates an image is seen as (Appendix B.1).

A vision transformer that was never told poses gives each image a class token and a map of patch
features. An image is like a template in texture if their tokens are, and in orientation if patches
that look alike lie at the same place across the object. No weights are trained here.

Axes: B images, K templates, A augmented copies of a template, h and w rows and columns of the patch
map, C channels, N = h w.
"""

from flax import struct
import jax
import jax.numpy as jnp
import numpy as np

from jax3dgen.core import extremum
from jax3dgen.core.errors import ConfigError
from jax3dgen.core.types import Array

SHARP = 0.01  # temperature of the matching of patches
PARTS = ('both', 'texture', 'orientation')
FORMS = ('matched', 'printed')


@struct.dataclass
class Templates:
  """K poses: tokens [K, C], patches [K, h, w, C], masks [K, h, w] of the object, and how a map of
  features is told from its background: by its projection on axis [C], above or below center [].
  """
  tokens: Array
  patches: Array
  masks: Array
  axis: Array
  center: Array


def build(tokens, patches, objects=None):
  """The Templates of augmented copies: tokens [K, A, C], patches [K, A, h, w, C], on the host.

  `objects` [K, h, w] bool says roughly where the object is (from a prior's attention, say); without
  it, what the border of the images is mostly made of counts as background. ConfigError where there
  are fewer than two templates or their shapes disagree.
  """
  tokens, patches = np.asarray(tokens, np.float64), np.asarray(patches, np.float64)
  agree = tokens.shape[:2] == patches.shape[:2] and tokens.shape[2] == patches.shape[-1]
  if len(tokens) < 2 or not agree:
    raise ConfigError(f'Pose templates are 2 or more, with features of one kind; got tokens '
                      f'{tokens.shape} and patches {patches.shape}.')
  flat = patches.reshape(-1, patches.shape[-1])
  axis = np.linalg.svd(flat - flat.mean(0), full_matrices=False)[2][0]
  mean = patches.mean(1)
  if objects is None:
    objects = np.zeros(mean.shape[:3], bool)
    objects[:, 1:-1, 1:-1] = True
  along = mean @ axis
  if along[objects].mean() < along[~objects].mean():
    axis = -axis
  made = Templates(tokens.mean(1), mean, None, axis, (flat @ axis).mean())
  made = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), made)
  return made.replace(masks=foreground(made, made.patches))


def foreground(templates, patches):
  """Where [B, h, w] patches [B, h, w, C] show the object; everywhere where that is nowhere.

  The first principal component of the templates' patches is above its mean: where, in the paper's
  words, the sigmoid of the normalised projection is above one half. No gradient passes.
  """
  along = jax.lax.stop_gradient(patches) @ templates.axis
  mask = along > templates.center
  return mask | ~mask.any((1, 2), keepdims=True)


def probabilities(templates, token, patches, temperature=0.05, parts='both', form='matched'):
  """p(k | image) [B, K] from tokens [B, C] and patches [B, h, w, C].

  The product of both similarities, divided by its sum, through a softmax at `temperature` (0.05 in
  the paper, 0.01 in its code). `parts` takes one similarity alone (RecDreamer Table 6). `form` of
  the orientation: 'matched' as in the authors' code, or 'printed', Eq. 16 to the letter, which
  hardly depends on the orientation.
  """
  for name, value, known in (('parts', parts, PARTS), ('form', form, FORMS)):
    if value not in known:
      raise ConfigError(f'{name}={value!r} is none of {", ".join(known)}.')
  joint = jnp.ones((len(token), len(templates.tokens)))
  if parts != 'orientation':
    joint = joint * texture(templates, token)
  if parts != 'texture':
    joint = joint * orientation(templates, patches, form)
  joint = joint / joint.sum(-1, keepdims=True)
  return jax.nn.softmax(joint / temperature, -1)


def texture(templates, token):
  """(1 + cosine of the class tokens) / 2: [B, K]."""
  unit = lambda x: x * jax.lax.rsqrt(jnp.maximum(jnp.sum(x**2, -1, keepdims=True), 1e-12))
  return 0.5 * (1.0 + unit(token) @ unit(templates.tokens).T)


def orientation(templates, patches, form='matched'):
  """1 minus how far apart across the object patches are that look alike: [B, K]."""
  masks = foreground(templates, patches)
  scaled = patches.reshape(len(patches), -1, patches.shape[-1])
  low, high = extremum.lowest(scaled), extremum.highest(scaled)
  scaled = (scaled - low) / jnp.maximum(high - low, 1e-12)
  of = jax.vmap(_apart, (0, 0, 0, None, None, None))
  own = templates.patches.reshape(len(templates.patches), -1, patches.shape[-1])
  low, high = own.min((1, 2), keepdims=True), own.max((1, 2), keepdims=True)
  own = (own - low) / jnp.maximum(high - low, 1e-12)
  each = lambda template, mask, across: of(
      scaled, masks.reshape(len(masks), -1), places(masks), template, mask, across)
  apart = jax.vmap(each)(own, templates.masks.reshape(len(own), -1), places(templates.masks))
  return 1.0 - apart[0 if form == 'matched' else 1].T


def places(masks):
  """Coordinates [B, N] across the object: -1/2 at the leftmost column of the mask [B, h, w], 1/2 at
  the rightmost, the same in all rows."""
  columns = masks.any(1)
  width = masks.shape[2]
  first = jnp.argmax(columns, -1)
  last = width - 1 - jnp.argmax(columns[:, ::-1], -1)
  across = (jnp.arange(width)[None] - first[:, None]) / jnp.maximum(last - first, 1)[:, None] - 0.5
  return jnp.broadcast_to(across[:, None], masks.shape).reshape(len(masks), -1)


def _apart(image, mask, across, template, template_mask, template_across):
  """(matched, printed) mean distance across of patches [N, C] of an image and a template.

  Matched: each patch of the image looks for its likes in the template. Printed: all pairs, weighed
  by one minus that likeness.
  """
  dot = jnp.matmul(image, template.T, precision='highest')
  square = jnp.sum(image**2, -1)[:, None] + jnp.sum(template**2, -1)[None] - 2 * dot
  distance = jnp.sqrt(jnp.maximum(square, 1e-12))
  likeness = jax.nn.softmax(jnp.where(template_mask[None], -distance / SHARP, -jnp.inf), -1)
  apart = jnp.abs(across[:, None] - template_across[None])
  share = mask / jnp.maximum(mask.sum(), 1)
  matched = jnp.sum(share[:, None] * likeness * apart)
  pairs = share[:, None] * template_mask[None] / jnp.maximum(template_mask.sum(), 1)
  return matched, jnp.sum(pairs * (1.0 - likeness) * apart)
